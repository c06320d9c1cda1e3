// Package main_test compares pkg/mailparse with go-message, an independent parser, on well-formed
// mail: the committed mails, mails that go-message's own writer makes, and any folder of mails named by
// MAIL_CORPUS. Mail that go-message refuses is counted and not compared: reading it is why pkg/mailparse
// exists.
package main_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset"
	"github.com/emersion/go-message/mail"

	"github.com/sluice-mail/sluice/pkg/mailparse"
)

const limit = 64 << 20

// leaf is one part as both parsers see it.
type leaf struct{ mediaType, body string }

func TestCommittedMails(t *testing.T) {
	compareFolder(t, "../../../pkg/mailparse/testdata/mails", 80)
}

func TestCorpus(t *testing.T) {
	dir := os.Getenv("MAIL_CORPUS")
	if dir == "" {
		t.Skip("skipped: MAIL_CORPUS names no folder of mails")
	}
	compareFolder(t, dir, 1)
}

func compareFolder(t *testing.T, dir string, atLeast int) {
	compared, refused := 0, 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if compare(t, d.Name(), raw) {
			compared++
		} else {
			refused++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d mails compared, %d refused by go-message", compared, refused)
	if compared < atLeast {
		t.Errorf("only %d mails compared, want %d", compared, atLeast)
	}
}

// compare reports whether go-message could read the mail.
func compare(t *testing.T, name string, raw []byte) bool {
	t.Helper()
	if bytes.Contains(raw, []byte("iso-10646-ucs-2")) {
		return false // go-message reads it little-endian, as browsers do; the registry says network order
	}
	subject, want, err := readReference(raw)
	if err != nil || !utf8.ValidString(subject) || strings.Contains(subject, "\uFFFD") {
		return false
	}
	got := readOurs(raw)
	if s := mailparse.Summarise(raw); squeeze(s.Subject) != squeeze(subject) {
		t.Errorf("%s: subject %q, go-message %q", name, s.Subject, subject)
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d parts, go-message %d", name, len(got), len(want))
		return true
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("%s: part %d:\n%q\ngo-message:\n%q", name, i, got[i], want[i])
		}
	}
	return true
}

func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

func readReference(raw []byte) (subject string, leaves []leaf, err error) {
	root, err := message.Read(bytes.NewReader(raw))
	if err != nil {
		return "", nil, err
	}
	err = root.Walk(func(_ []int, e *message.Entity, err error) error {
		if err != nil {
			return err
		}
		mediaType, _, err := e.Header.ContentType()
		if err != nil || strings.HasPrefix(mediaType, "multipart/") {
			return err
		}
		body, err := io.ReadAll(e.Body)
		text := string(body)
		if strings.HasPrefix(mediaType, "text/") {
			// go-message's writer breaks long 8-bit lines inside characters, its reader leaves them so.
			text = strings.ToValidUTF8(text, "\uFFFD")
		}
		leaves = append(leaves, leaf{mediaType, text})
		return err
	})
	if err != nil {
		return "", nil, err
	}
	header := mail.Header{Header: root.Header}
	subject, err = header.Subject()
	return subject, leaves, err
}

// readOurs lists the leaves, with an attached message as one, as go-message has it.
func readOurs(raw []byte) (leaves []leaf) {
	m := mailparse.Index(raw)
	for i := range m.Parts {
		p := &m.Parts[i]
		if strings.HasPrefix(p.Type, "multipart/") || insideMessage(m, p) {
			continue
		}
		var body string
		if strings.HasPrefix(p.Type, "text/") {
			body, _ = p.Text(limit)
		} else {
			data, _ := p.Decoded(limit)
			body = string(data)
		}
		leaves = append(leaves, leaf{p.Type, body})
	}
	return leaves
}

func insideMessage(m *mailparse.Message, p *mailparse.Part) bool {
	for i := p.Parent; i >= 0; i = m.Parts[i].Parent {
		if !strings.HasPrefix(m.Parts[i].Type, "multipart/") {
			return true
		}
	}
	return false
}

func TestWrittenMails(t *testing.T) {
	for seed := range uint64(1000) {
		w := writer{rand.New(rand.NewPCG(seed, 0))}
		raw := w.mail(t)
		if !compare(t, fmt.Sprintf("seed %d", seed), raw) {
			t.Fatalf("seed %d: go-message refuses its own mail:\n%s", seed, raw)
		}
	}
}

// writer makes random well-formed mails with go-message's writer.
type writer struct{ *rand.Rand }

func (w writer) mail(t *testing.T) []byte {
	var h mail.Header
	h.SetSubject(w.text(12))
	h.SetAddressList("From", []*mail.Address{{Name: w.text(3), Address: "a@example.com"}})
	var out bytes.Buffer
	w.fill(t, &h.Header, 4, func(h message.Header) (*message.Writer, error) { return message.CreateWriter(&out, h) })
	return out.Bytes()
}

// fill writes an entity under create: a multipart of random children, or a leaf.
func (w writer) fill(t *testing.T, h *message.Header, depth int, create func(message.Header) (*message.Writer, error)) {
	t.Helper()
	children := 0
	if depth > 0 && w.IntN(2) == 0 {
		children = 1 + w.IntN(4)
		h.SetContentType([]string{"multipart/mixed", "multipart/alternative"}[w.IntN(2)], nil)
	} else {
		w.leafHeader(h)
	}
	mw, err := create(*h)
	if err != nil {
		t.Fatal(err)
	}
	for range children {
		var child message.Header
		w.fill(t, &child, depth-1, mw.CreatePart)
	}
	if children == 0 {
		if _, err := io.WriteString(mw, strings.ReplaceAll(w.text(w.IntN(200)), "|", "\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	if err := mw.Close(); err != nil {
		t.Fatal(err)
	}
}

func (w writer) leafHeader(h *message.Header) {
	switch w.IntN(4) {
	case 0:
		h.SetContentType("text/plain", map[string]string{"charset": "utf-8"})
	case 1:
		h.SetContentType("text/html", map[string]string{"charset": "UTF-8"})
	case 2:
		h.SetContentType("application/octet-stream", map[string]string{"name": w.text(3)})
	}
	if e := w.IntN(4); e > 0 {
		h.Set("Content-Transfer-Encoding", []string{"base64", "quoted-printable", "8bit"}[e-1])
	}
}

// text is words of several scripts; "|" stands for a line end in bodies.
func (w writer) text(words int) string {
	all := []string{"mail", "Grüße", "会議", "привет", "=", "=?", "?=", "--", "--b", "=3D", ".", "|", "||", "☺", "a:b", "long" + strings.Repeat("g", 90), "(c)", "\"q\""}
	out := make([]string, words)
	for i := range out {
		out[i] = all[w.IntN(len(all))]
	}
	return strings.Join(out, " ")
}
