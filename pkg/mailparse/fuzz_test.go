package mailparse

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sluice-mail/sluice/pkg/mailparse/charset"
)

// FuzzIndex: any bytes give a tree whose spans lie inside each other, in linear work, and whose texts are
// valid and within their limits.
func FuzzIndex(f *testing.F) {
	for _, g := range readGolden(f)[:20] {
		f.Add(readMail(f, g.File))
	}
	f.Add([]byte(nest(25, func(int) string { return "b" })))
	f.Add([]byte(crlf("Content-Type: multipart/digest; boundary*0*=''%62; boundary*1=c\n\n--bc\n\nA: b\n\nx\n--bc--\n")))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, steps := indexSteps(raw)
		checkSpans(t, m)
		if most := maxSteps * (len(raw) + 1); steps > most {
			t.Fatalf("%d steps for %d bytes", steps, len(raw))
		}
		checkTexts(t, m)
		checkStream(t, raw, rand.New(rand.NewPCG(uint64(len(raw)), 1)))
	})
}

// checkTexts holds what is decoded of a mail to its limits.
func checkTexts(t testing.TB, m *Message) {
	t.Helper()
	const limit = 1000
	for i := range m.Parts {
		p := &m.Parts[i]
		if data, _ := p.Decoded(limit); len(data) > limit || len(data) > p.Body.Len() {
			t.Fatalf("%d bytes decoded from %d, limit %d", len(data), p.Body.Len(), limit)
		}
		text, _ := p.Text(limit)
		checkText(t, text, limit)
		checkText(t, p.Filename(), maxFieldText)
		checkText(t, p.ContentID(), maxFieldText)
		checkText(t, p.Charset(), 64)
	}
	plain, html, _ := m.Bodies(limit)
	checkText(t, plain+html, limit)
	s := m.Summary()
	for _, text := range []string{s.Subject, s.From, s.To, s.MessageID, s.ContentType, s.Charset} {
		checkText(t, text, MaxSummaryText)
		if strings.ContainsFunc(text, isControl) {
			t.Fatalf("control characters in %q", text)
		}
	}
	if !s.Date.IsZero() && (s.Date.Year() < 1899 || s.Date.Year() > 9999) {
		t.Fatalf("date %v", s.Date)
	}
}

func checkText(t testing.TB, text string, limit int) {
	t.Helper()
	if !utf8.ValidString(text) || len(text) > limit {
		t.Fatalf("%d bytes, limit %d, valid %v: %q", len(text), limit, utf8.ValidString(text), text)
	}
}

// FuzzDecodeWord: whatever the header value and the declared charset, the text is valid UTF-8 without
// control characters and at most four times as long.
func FuzzDecodeWord(f *testing.F) {
	f.Add([]byte("=?utf-8?q?=E2=98?= =?utf-8?b?ug==?="), "koi8-r")
	f.Add([]byte("=?gb18030?q?=81=30=81=30?= =?big5?q?=88=62?="), "utf-16")
	f.Add([]byte("=?utf-7?q?+AKM-?= \x1b$B2q5D\x1b(B \xfc"), "hz-gb-2312")
	f.Add([]byte("x; name*0*=utf-8''%E2; name*1=\"\\\"\"; name=(1)"), "iso-2022-kr")
	f.Fuzz(func(t *testing.T, value []byte, hint string) {
		const limit = 1 << 20
		text, _ := decodeText(value, hint, limit)
		checkText(t, text, 4*len(value))
		if strings.ContainsFunc(text, isControl) {
			t.Fatalf("control characters in %q", text)
		}
		name, _ := param(value, "name").text(hint, limit)
		checkText(t, name, 4*len(value))
		converted, _ := charset.ToUTF8(value, hint)
		checkText(t, converted, 4*len(value))
		parseDate(value)
	})
}
