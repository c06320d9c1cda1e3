package mailparse

import (
	"strings"
	"testing"
)

func part(t *testing.T, header, body string) *Part {
	t.Helper()
	return &Index([]byte(crlf(header) + "\r\n" + body)).Parts[0]
}

func TestBase64(t *testing.T) {
	for _, tt := range []struct{ in, want, flags string }{
		{"aGVsbG8=", "hello", ""},
		{"aGVs\r\nbG8=\r\n", "hello", ""},
		{"aGVsbG8", "hello", ""},
		{"aGVsbG8===", "hello", ""},
		{"aGVsb", "hel", "bad_encoding"},
		{"aGVs bG8=", "hello", ""},
		{"aGVs!bG8=", "hello", "bad_encoding"},
		{"aGVsbA==\r\nbyE=", "hello!"[:4] + "o!", ""}, // two pieces, each with its padding
		{"aGVsbG8=\r\n-- \r\nlist footer", "hello", "bad_encoding"},
		{"", "", ""},
		{"====", "", ""},
	} {
		data, flags := part(t, "Content-Transfer-Encoding: BASE64\n", tt.in).Decoded(100)
		if !strings.HasPrefix(string(data), tt.want) || tt.flags == "" && string(data) != tt.want {
			t.Errorf("%q gives %q, want %q", tt.in, data, tt.want)
		}
		check(t, tt.in, flags&BadEncoding, map[string]Flags{"": 0, "bad_encoding": BadEncoding}[tt.flags])
	}
}

func TestQuotedPrintable(t *testing.T) {
	for _, tt := range []struct{ in, want, flags string }{
		{"a=3Db", "a=b", ""},
		{"a=3db", "a=b", ""},
		{"soft=\r\n line", "soft line", ""},
		{"soft= \t\r\nline", "softline", ""},
		{"soft=\nline\n", "softline\n", ""},
		{"trailing \t\r\nspace", "trailing\r\nspace", ""},
		{"kept=20\r\n", "kept \r\n", ""},
		{"100=%", "100=%", "bad_encoding"},
		{"=4", "=4", "bad_encoding"},
		{"end=", "end", ""},
		{"8-bit \xfc", "8-bit \xfc", ""},
		{"a\r\n\r\nb", "a\r\n\r\nb", ""},
	} {
		data, flags := part(t, "Content-Transfer-Encoding: quoted-printable\n", tt.in).Decoded(100)
		check(t, tt.in, string(data), tt.want)
		check(t, tt.in, flags.String(), tt.flags)
	}
}

// TestBudgetHolds: whatever the encoding, no more than the limit comes out, and it is the beginning.
func TestBudgetHolds(t *testing.T) {
	text := strings.Repeat("☺ü", 100)
	whole := map[string]string{
		"8bit":             text,
		"quoted-printable": strings.NewReplacer("☺", "=E2=98=BA", "ü", "=C3=BC=\r\n").Replace(text),
		"base64":           strings.Repeat("4pi6w7zimLrDvA==\r\n", 50),
	}
	for encoding, body := range whole {
		p := part(t, "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: "+encoding+"\n", body)
		for limit := range len(text) + 10 {
			data, flags := p.Decoded(limit)
			check(t, encoding, len(data), min(limit, len(text)))
			check(t, encoding, flags.Has(Cut), limit < len(text))
			got, flags := p.Text(limit)
			if len(got) > limit || !strings.HasPrefix(text, got) || len(got) < min(limit, len(text))-3 {
				t.Fatalf("%s, limit %d: %q", encoding, limit, got)
			}
			check(t, encoding, flags&^Cut, 0)
		}
	}
}

func TestText(t *testing.T) {
	for _, tt := range []struct{ header, body, want string }{
		{"", "Grüße", "Grüße"},
		{"", "Gr\xfc\xdfe", "Grüße"},
		{"", "\x1b$B2q5D\x1b(B\r\n", "会議\r\n"},
		{"Content-Type: text/plain; charset=koi8-r\n", "\xd0\xd2\xc9\xd7\xc5\xd4", "привет"},
		{"Content-Type: text/plain; charset=\"koi8-r\n", "\xd0\xd2\xc9\xd7\xc5\xd4", "привет"},
		{"Content-Type: text/plain; charset=koi8-r format=flowed\n", "\xd0\xd2\xc9\xd7\xc5\xd4", "привет"},
		{"Content-Type: text/html\n", "<META content='text/html; charset=koi8-r'>\xd0", "<META content='text/html; charset=koi8-r'>п"},
		{"Content-Type: text/plain; charset=x-unknown\n", "\x80", "€"},
		{"Content-Type: text/plain; charset=utf-16le\nContent-Transfer-Encoding: base64\n", "PAQ=", "м"},
	} {
		got, _ := part(t, tt.header, tt.body).Text(1000)
		check(t, tt.header, got, tt.want)
	}
}

func TestIsAttachment(t *testing.T) {
	related := "Content-Type: multipart/related; boundary=b\n\n--b\n"
	for _, tt := range []struct {
		name, mail string
		want       bool
	}{
		{"text", "\nhi", false},
		{"html", "Content-Type: text/html\n\nhi", false},
		{"declared", "Content-Disposition: ATTACHMENT\n\nhi", true},
		{"inline text", "Content-Disposition: inline\n\nhi", false},
		{"named text", "Content-Type: text/csv; name=a.csv\n\nhi", true},
		{"inline named text", "Content-Disposition: inline; filename=a.txt\n\nhi", true},
		{"mail that is a file", "Content-Type: application/pdf\n\nhi", true},
		{"picture of a page", related + "Content-Type: image/png\nContent-ID: <x>\n\n--b--", false},
		{"picture beside a page", related + "Content-Type: image/png\n\n--b--", true},
		{"signature", "Content-Type: application/pgp-signature\n\nhi", false},
		{"calendar", "Content-Type: text/calendar\n\nhi", false},
		{"attached message", "Content-Type: message/rfc822\n\nSubject: x\n\nhi", true},
		{"bounce", "Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\n--b--", false},
		{"multipart", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--", false},
	} {
		check(t, tt.name, Summarise([]byte(crlf(tt.mail))).HasAttachment, tt.want)
	}
}

func TestFilename(t *testing.T) {
	check(t, "type only", part(t, "Content-Type: a/b; name=\"x y.pdf\"\n", "").Filename(), "x y.pdf")
	check(t, "both", part(t, "Content-Type: a/b; name=old\nContent-Disposition: inline; filename*=utf-8''%C3%BC.pdf\n", "").Filename(), "ü.pdf")
	check(t, "none", part(t, "", "").Filename(), "")
	check(t, "content id", part(t, "Content-ID: <a@b>\n", "").ContentID(), "a@b")
}

func TestFields(t *testing.T) {
	p := part(t, "A: 1\nbroken\nB: =?utf-8?q?=C3=BC?=\n folded\na: 2\n", "")
	check(t, "first", p.Field("a"), "1")
	check(t, "decoded", p.Field("b"), "ü folded")
	check(t, "missing", p.Field("c"), "")
	var seen []string
	p.Fields(func(name string, value []byte) bool {
		seen = append(seen, name+"="+string(value))
		return len(seen) < 2
	})
	check(t, "fields", strings.Join(seen, "|"), "A=1|B==?utf-8?q?=C3=BC?=\r\n folded")
}

func TestBodiesSkipAttachmentsAndAttachedMessages(t *testing.T) {
	m := Index([]byte(crlf(mixedB + "--b\n\none\n--b\nContent-Type: message/rfc822\n\n\nforwarded\n--b\n" +
		"Content-Disposition: attachment\n\nfile\n--b\nContent-Type: text/html\n\n<p>\n--b\n\ntwo\n--b--\n")))
	plain, html, flags := m.Bodies(100)
	check(t, "plain", plain, "onetwo")
	check(t, "html", html, "<p>")
	check(t, "flags", flags, 0)
	plain, html, flags = m.Bodies(4)
	check(t, "cut", plain+html, "one<")
	check(t, "flags", flags, Cut)
}
