package mailparse

import (
	"fmt"
	"strings"
	"testing"
)

// maxSteps is the constant of the linear bound: each byte may be compared with MaxDepth boundaries, and
// is passed over by the header scan, the field scan and the delimiter search.
const maxSteps = 2*MaxDepth + 8

func indexSteps(raw []byte) (*Message, int) {
	ix := indexer{msg: &Message{Raw: raw, text: raw}, window: window{buf: raw}}
	ix.run()
	return ix.msg, ix.steps
}

// nest opens depth multiparts, one in the other, and closes none.
func nest(depth int, boundary func(int) string) string {
	var b strings.Builder
	for i := range depth {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%s\r\n\r\n--%s\r\n", boundary(i), boundary(i))
	}
	return b.String()
}

// TestHostileMailIsIndexedInLinearTime has the shapes that cost other libraries exponential or quadratic
// time: enmime doubles its work with each unclosed level and is quadratic in parts, go-message is
// quadratic in depth.
func TestHostileMailIsIndexedInLinearTime(t *testing.T) {
	distinct := func(i int) string { return fmt.Sprintf("b%d", i) }
	same := func(int) string { return "b" }
	growing := func(i int) string { return strings.Repeat("b", 1+i%MaxBoundary) }
	tests := []struct {
		name, mail string
		flags      Flags
	}{
		{"20 unclosed levels", nest(20, distinct), MissingBoundary | Unclosed},
		{"200 unclosed levels", nest(200, distinct), MissingBoundary | Unclosed | Deep},
		{"8000 unclosed levels", nest(8000, distinct), MissingBoundary | Unclosed | Deep},
		{"8000 levels of one boundary", nest(8000, same), MissingBoundary | Unclosed | Deep},
		{"8000 levels of growing boundaries", nest(8000, growing), MissingBoundary | Unclosed | Deep},
		{"100000 attached messages", strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 100000), Deep},
		{"30000 tiny parts", crlf(mixedB) + strings.Repeat("--b\r\n\r\n", 30000), TooManyParts},
		{"20 levels, then dashes", nest(19, growing) + strings.Repeat("\r\n--"+strings.Repeat("b", 150)+"x", 20000), Unclosed},
		{"20 levels of long padding", nest(19, same) + strings.Repeat("\r\n--b"+strings.Repeat(" ", 5000)+"x", 200), Unclosed},
		{"200000 header fields", strings.Repeat("A:\r\n", 200000), HeaderTooBig},
		{"header of one fold", "Subject: x\r\n" + strings.Repeat(" \r\n", 300000), HeaderTooBig},
		{"parts that are all header", crlf(mixedB) + strings.Repeat("--b\r\nA: "+strings.Repeat("x", 10000)+"\r\n", 500), Unclosed},
		{"20000 parameters", "Content-Type: multipart/mixed" + strings.Repeat("; a=\"b\\\"", 20000) + "\r\n\r\n", MissingBoundary},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, steps := indexSteps([]byte(tt.mail))
			checkSpans(t, m)
			if most := maxSteps * (len(tt.mail) + 1); steps > most {
				t.Errorf("%d steps for %d bytes, want at most %d", steps, len(tt.mail), most)
			}
			if m.Flags&tt.flags == 0 {
				t.Errorf("flags %v, want some of %v", m.Flags, tt.flags)
			}
			m.Summary()
			m.Bodies(1 << 20)
		})
	}
}

// TestDeepPartsAreOpaque: what lies beyond the depth limit is one part, and what follows it is still found.
func TestDeepPartsAreOpaque(t *testing.T) {
	name := func(i int) string { return fmt.Sprintf("b%d", i) }
	m := Index([]byte(nest(MaxDepth+5, name) + "\r\ndeep\r\n--b0\r\nContent-Disposition: attachment\r\n\r\nlast\r\n--b0--\r\n"))
	check(t, "parts", len(m.Parts), MaxDepth+2)
	check(t, "flags", m.Flags, Deep|Unclosed)
	last := &m.Parts[len(m.Parts)-1]
	check(t, "last parent", last.Parent, 0)
	check(t, "last", string(last.bytes(last.Body)), "last")
	check(t, "has attachment", m.Summary().HasAttachment, true)
}

// TestHostileWordsAreFoundInLinearTime: a header full of beginnings of encoded words is read once, not once
// for each beginning.
func TestHostileWordsAreFoundInLinearTime(t *testing.T) {
	const most = 2*64/2 + 4 // each "=?" may look for a charset of 64 bytes, twice
	for _, piece := range []string{"=?", "=?a?q?", "=?a?b?", "=?a?", "=?utf-8?b?=", "=?a?q?x=?", "\r\n =?utf-8?q?=C3", "=?utf-8?q?a?= ", "=?a?q??", "?"} {
		for _, end := range []string{"", "?=", "?"} {
			value := []byte(strings.Repeat(piece, 100000/len(piece)) + end)
			d := wordDecoder{}
			d.decode(value)
			if d.steps > most*len(value) {
				t.Errorf("%q, then %q: %d steps for %d bytes", piece, end, d.steps, len(value))
			}
		}
	}
}
