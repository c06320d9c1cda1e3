package mailparse

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type goldenMail struct {
	File       string `json:"file"`
	Subject    string `json:"subject"`
	From       string `json:"from"`
	Text       string `json:"text"`
	Charset    string `json:"charset"`
	MessageID  string `json:"message_id"`
	Attachment string `json:"attachment"`
}

func readGolden(t testing.TB) []goldenMail {
	t.Helper()
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var mails []goldenMail
	if err := json.Unmarshal(data, &mails); err != nil {
		t.Fatal(err)
	}
	if len(mails) < 100 {
		t.Fatalf("only %d golden mails: testdata/generate.py makes more", len(mails))
	}
	return mails
}

func readMail(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata/mails", name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestEveryCharsetIsRead compares with what Python encoded (testdata/generate.py).
func TestEveryCharsetIsRead(t *testing.T) {
	date := time.Date(2026, 11, 2, 10, 22, 33, 0, time.UTC)
	for _, want := range readGolden(t) {
		t.Run(want.File, func(t *testing.T) {
			m := Index(readMail(t, want.File))
			s := m.Summary()
			check(t, "subject", s.Subject, want.Subject)
			check(t, "from", s.From, want.From)
			check(t, "to", s.To, "reader@example.com")
			check(t, "message id", s.MessageID, want.MessageID)
			check(t, "charset", s.Charset, want.Charset)
			check(t, "flags", s.Flags.String(), "")
			check(t, "date", s.Date.String(), date.String())
			check(t, "has attachment", s.HasAttachment, want.Attachment != "")
			plain, html, flags := m.Bodies(1 << 20)
			check(t, "text", strings.TrimSuffix(plain, "\r\n"), strings.TrimSuffix(want.Text, "\r\n"))
			check(t, "text flags", flags.String(), "")
			if want.Attachment == "" {
				return
			}
			check(t, "html", html, "<p>html</p>")
			last := &m.Parts[len(m.Parts)-1]
			check(t, "file name", last.Filename(), want.Attachment)
			data, _ := last.Decoded(100)
			check(t, "attachment", string(data), "\x00\x01\x02\x03\x04")
		})
	}
}

func check[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s = %q, want %q", what, any(got), any(want))
	}
}
