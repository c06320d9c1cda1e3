package mailparse

import (
	"fmt"
	"strings"
	"testing"
)

// outline writes the tree as "type(header length)[body]" with children indented by dots.
func outline(m *Message) string {
	var b strings.Builder
	for _, p := range m.Parts {
		body := string(m.Raw[p.Body.Start:p.Body.End])
		if isMultipart(p.Type) || strings.HasPrefix(p.Type, "message/") {
			body = fmt.Sprint(len(body))
		}
		fmt.Fprintf(&b, "%s%s[%s] ", strings.Repeat(".", p.Depth), p.Type, body)
	}
	return strings.TrimSpace(b.String())
}

// crlf lets the tables be written with plain newlines.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

const mixedB = "Content-Type: multipart/mixed; boundary=b\n\n"

func TestIndex(t *testing.T) {
	tests := []struct{ name, mail, want, flags string }{
		{"empty", "", "text/plain[]", ""},
		{"only a body", "\nhello\n", "text/plain[hello\r\n]", ""},
		{"only a header", "Subject: x\n", "text/plain[]", ""},
		{"header without a line end", "Subject: x", "text/plain[]", ""},
		{"simple", "Subject: x\n\nhello\n", "text/plain[hello\r\n]", ""},
		{"no header at all", "hello world\nthis is text\n", "text/plain[hello world\r\nthis is text\r\n]", "bad_header"},
		{"mail folder line", "From x@example.com Mon Jan 1\nSubject: x\n\nhello", "text/plain[hello]", "bad_header"},
		{"junk line in the header", "Subject: x\njunk\nContent-Type: text/html\n\nhello", "text/html[hello]", "bad_header"},
		{"folded type", "Content-Type:\n text/html;\n\tcharset=x\n\nhi", "text/html[hi]", ""},
		{"space before the colon", "Content-Type : text/html\n\nhi", "text/html[hi]", ""},
		{"type in capitals", "CONTENT-TYPE: TEXT/HTML\n\nhi", "text/html[hi]", ""},
		{"type without a slash", "Content-Type: text\n\nhi", "text/plain[hi]", "bad_header"},
		{"first of two types counts", "Content-Type: text/html\nContent-Type: text/css\n\nhi", "text/html[hi]", ""},
		{"mixed", mixedB + "pre\n--b\n\none\n--b\nContent-Type: text/html\n\ntwo\n--b--\nepilogue\n",
			"multipart/mixed[71] .text/plain[one] .text/html[two]", ""},
		{"empty bodies", mixedB + "--b\n\n--b\n\n\n--b--", "multipart/mixed[21] .text/plain[] .text/plain[]", ""},
		{"header cut short by the boundary", mixedB + "--b\nContent-Type: text/html\n--b--\n", "multipart/mixed[37] .text/html[]", ""},
		{"closing delimiter missing", mixedB + "--b\n\none\n--b\n\ntwo\n", "multipart/mixed[24] .text/plain[one] .text/plain[two\r\n]", "unclosed"},
		{"boundary never comes", mixedB + "hello\n", "multipart/mixed[7]", "missing_boundary"},
		{"no boundary parameter", "Content-Type: multipart/mixed\n\n--b\n\none\n--b--\n", "multipart/mixed[19]", "missing_boundary"},
		{"empty boundary", "Content-Type: multipart/mixed; boundary=\"\"\n\n--\n\none\n----\n", "multipart/mixed[17]", "missing_boundary"},
		{"padding behind the boundary", mixedB + "--b \t\n\none\n--b--  \n", "multipart/mixed[23] .text/plain[one]", ""},
		{"longer word is no boundary", mixedB + "--b\n\n--bc\n--b--c\n-- b\n--b--\n", "multipart/mixed[34] .text/plain[--bc\r\n--b--c\r\n-- b]", ""},
		{"boundary not at a line start", mixedB + "--b\n\nx--b\n --b\n--b--\n", "multipart/mixed[26] .text/plain[x--b\r\n --b]", ""},
		{"text after the closing delimiter", mixedB + "--b\n\none\n--b--\n--b\n\nnot a part\n", "multipart/mixed[38] .text/plain[one]", ""},
		{"nested", mixedB + "--b\nContent-Type: multipart/alternative; boundary=bb\n\n--bb\n\none\n--bb\n\ntwo\n--bb--\n\n--b\n\nthree\n--b--\n",
			"multipart/mixed[114] .multipart/alternative[34] ..text/plain[one] ..text/plain[two] .text/plain[three]", ""},
		{"outer boundary ends the inner", mixedB + "--b\nContent-Type: multipart/alternative; boundary=bb\n\n--bb\n\none\n--b\n\nthree\n--b--\n",
			"multipart/mixed[91] .multipart/alternative[11] ..text/plain[one] .text/plain[three]", "unclosed"},
		{"same boundary inside and outside", mixedB + "--b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b--\n--b\n\ntwo\n--b--\n",
			"multipart/mixed[88] .multipart/mixed[17] ..text/plain[one] .text/plain[two]", ""},
		{"attached message", mixedB + "--b\nContent-Type: message/rfc822\n\nSubject: in\nContent-Type: text/html\n\n<p>\n--b--\n",
			"multipart/mixed[89] .message/rfc822[43] ..text/html[<p>]", ""},
		{"empty attached message", mixedB + "--b\nContent-Type: message/rfc822\n\n\n--b--\n", "multipart/mixed[46] .message/rfc822[2] ..text/plain[]", ""},
		{"encoded attached message stays shut", "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogeA==", "message/rfc822[16]", ""},
		{"digest", "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: in\n\nhi\n--b--\n", "multipart/digest[33] .message/rfc822[17] ..text/plain[hi]", ""},
		{"boundary in pieces", "Content-Type: multipart/mixed; boundary*0=b;\n boundary*1=c\n\n--bc\n\none\n--bc--", "multipart/mixed[19] .text/plain[one]", ""},
		{"unclosed quote", "Content-Type: multipart/mixed; boundary=\"b\n\n--b\n\none\n--b--", "multipart/mixed[17] .text/plain[one]", ""},
		{"boundary too long", "Content-Type: multipart/mixed; boundary=" + strings.Repeat("b", MaxBoundary+1) + "\n\nx", "multipart/mixed[1]", "missing_boundary"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := Index([]byte(crlf(tt.mail)))
			check(t, "outline", outline(m), tt.want)
			check(t, "flags", m.Flags.String(), tt.flags)
			checkSpans(t, m)
		})
	}
}

func TestIndexTakesBareLineFeeds(t *testing.T) {
	m := Index([]byte(mixedB + "--b\nContent-Type: text/html\n\none\n--b--\n"))
	check(t, "outline", outline(m), "multipart/mixed[39] .text/html[one]")
	check(t, "flags", m.Flags, 0)
}

func TestHeaderLimits(t *testing.T) {
	long := "Subject: " + strings.Repeat("x", MaxHeaderBytes) + "\r\n\r\nbody"
	m := Index([]byte(long))
	check(t, "flags", m.Flags, HeaderTooBig)
	check(t, "header", m.Parts[0].Header, Span{0, MaxHeaderBytes})
	check(t, "body", m.Parts[0].Body, Span{MaxHeaderBytes, len(long)})

	many := strings.Repeat("A: b\r\n", MaxFields) + "Subject: lost\r\n\r\nbody"
	s := Summarise([]byte(many))
	check(t, "flags", s.Flags, HeaderTooBig)
	check(t, "subject", s.Subject, "")
}

// checkSpans holds every part to what callers rely on: inside the mail, ordered, inside its parent.
func checkSpans(t testing.TB, m *Message) {
	t.Helper()
	if len(m.Parts) == 0 || len(m.Parts) > MaxParts {
		t.Fatalf("%d parts", len(m.Parts))
	}
	for i, p := range m.Parts {
		outer := Span{0, len(m.Raw)}
		if i > 0 {
			if p.Parent < 0 || p.Parent >= i || p.Depth != m.Parts[p.Parent].Depth+1 {
				t.Fatalf("part %d: parent %d, depth %d", i, p.Parent, p.Depth)
			}
			outer = m.Parts[p.Parent].Body
		}
		ordered := outer.Start <= p.Header.Start && p.Header.Start <= p.Header.End && p.Header.End <= p.Body.Start &&
			p.Body.Start <= p.Body.End && p.Body.End <= outer.End
		if !ordered || p.Depth > MaxDepth {
			t.Fatalf("part %d: header %v body %v in %v, depth %d", i, p.Header, p.Body, outer, p.Depth)
		}
	}
}
