package reading_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/sluice-mail/sluice/pkg/mailparse"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/services/internal/reading"
	"github.com/sluice-mail/sluice/services/internal/reading/readingtest"
)

const picture = "From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\r\nSubject: a picture\r\n" +
	"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
	"--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe\r\n" +
	"--b\r\nContent-Type: image/png; name=\"../../x/\u202eevil\r\n .png\"\r\nContent-Disposition: attachment; filename=\"../../x/evil.png\"\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n" +
	"--b--\r\n"

func TestMailIsDecoded(t *testing.T) {
	store := readingtest.Store(t)
	id := readingtest.Put(t, store, picture, ann)
	m, err := newReader(t, store, nil).Open(t.Context(), ann, id)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	text, html, cut, err := m.Bodies()
	if text != "Grüße" || html != "" || cut || err != nil {
		t.Errorf("%q %q %v %v", text, html, cut, err)
	}
	fields, cut := m.Fields()
	var names []string
	for _, f := range fields {
		names = append(names, f.Name)
		if f.Name == "From" && f.Value != "Jürgen <j@example.org>" {
			t.Errorf("From: %q", f.Value)
		}
	}
	if got, want := strings.Join(names, " "), "Return-Path Delivered-To Received From Subject MIME-Version Content-Type"; got != want || cut {
		t.Errorf("fields %s, want %s", got, want)
	}
	files := m.Attachments()
	if len(files) != 1 || files[0].Name != "evil.png" || files[0].Type != "image/png" || files[0].Size != 5 {
		t.Fatalf("%+v", files)
	}
	content, err := io.ReadAll(m.Content(files[0].Number))
	if string(content) != "hello" || err != nil {
		t.Errorf("%q %v", content, err)
	}
	if parts := m.Parts(); len(parts) != 3 || parts[0].Role != mailparse.RoleStructure || parts[2].Parent != 0 {
		t.Errorf("%+v", parts)
	}
	for _, number := range []int{-1, 3, 1 << 40} {
		if _, there := m.Part(number); there {
			t.Errorf("there is a part %d", number)
		}
	}
}

// TestReadersLearnNothingOfOtherRecipients: they may be blind copies. Not from the source, the header, the list, nor from
// what the answers of two readers have in common.
func TestReadersLearnNothingOfOtherRecipients(t *testing.T) {
	cache, _ := newCache(t)
	store := readingtest.Store(t)
	const raw = "From: a@example.org\r\nTo: ann@example.com\r\nSubject: hello\r\n\r\ntext\r\n"
	id := readingtest.Put(t, store, raw, ann, ben, "carl@example.net")
	alone := readingtest.Put(t, store, raw, ben)
	r := newReader(t, store, cache)
	for range 3 { // from the database, then from the cache
		if _, err := r.List(t.Context(), ben, mailstore.Query{}); err != nil {
			t.Fatal(err)
		}
		m, err := r.Open(t.Context(), ben, id)
		if err != nil {
			t.Fatal(err)
		}
		source, err := io.ReadAll(m.Delivered())
		if err != nil || !bytes.HasSuffix(source, []byte(raw)) {
			t.Fatalf("%q %v", source, err)
		}
		trace := string(source[:len(source)-len(raw)])
		for _, field := range []string{"Return-Path: <sender@example.org>\r\n", "Delivered-To: ben@example.com\r\n", "for <ben@example.com>"} {
			if !strings.Contains(trace, field) {
				t.Errorf("%q is not in %q", field, trace)
			}
		}
		if strings.Contains(trace, "ann") || strings.Contains(trace, "carl") {
			t.Errorf("others are in %q", trace)
		}
		// A mail for one recipient alone must look the same.
		only, err := r.Open(t.Context(), ben, alone)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := io.ReadAll(only.Delivered())
		if err != nil || len(theirs) != len(source) {
			t.Errorf("a mail for one recipient has another form: %q, %q", theirs, source)
		}
		only.Close()
		m.Close()
	}
	if _, err := r.Open(t.Context(), "dora@example.com", id); !errors.Is(err, mailstore.ErrNotFound) {
		t.Errorf("a stranger: %v", err)
	}
}

// TestLargeMailIsReadFromAFile: in its parts, and without a file left behind.
func TestLargeMailIsReadFromAFile(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	content := make([]byte, 3<<20)
	if _, err := rand.Read(content); err != nil {
		t.Fatal(err)
	}
	packed := base64.StdEncoding.EncodeToString(content)
	raw := "Subject: large\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n" +
		"--b\r\nContent-Type: application/zip; name=a.zip\r\nContent-Transfer-Encoding: base64\r\n\r\n" + packed + "\r\n--b--\r\n"
	store := readingtest.Store(t)
	id := readingtest.Put(t, store, raw, ann)
	m, err := newReader(t, store, nil).Open(t.Context(), ann, id)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if left, err := os.ReadDir(dir); len(left) != 0 || err != nil {
		t.Errorf("the file has a name: %v %v", left, err)
	}
	if text, _, _, err := m.Bodies(); text != "text" || err != nil {
		t.Errorf("%q %v", text, err)
	}
	got, err := io.ReadAll(m.Content(m.Attachments()[0].Number))
	if !bytes.Equal(got, content) || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	source := m.Delivered()
	if _, err := source.Seek(-int64(len(raw)), io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	if sent, err := io.ReadAll(source); string(sent) != raw || err != nil {
		t.Errorf("%d bytes, %v", len(sent), err)
	}
}

func TestSafeName(t *testing.T) {
	for name, want := range map[string]string{
		"report.pdf":            "report.pdf",
		"../../etc/passwd":      "passwd",
		`C:\Windows\system.ini`: "system.ini",
		".htaccess":             "htaccess",
		"a\r\nb\x00.txt":        "ab.txt",
		"\u202egpj.exe":         "gpj.exe",
		"x\u200b.txt":           "x.txt",
		`a"b<c>.txt`:            "a_b_c_.txt",
		"..":                    "",
		"Grüße aus Köln.txt":    "Grüße aus Köln.txt",
		"invoice.pdf" + strings.Repeat(" ", 200) + ".exe": "invoice.pdf .exe",
		"bad\xff.txt":                        "bad\uFFFD.txt",
		strings.Repeat("ü", 10_000) + ".png": strings.Repeat("ü", 73) + ".png",
	} {
		if got := reading.SafeName(name); got != want {
			t.Errorf("%.40q becomes %.200q, want %.200q", name, got, want)
		}
	}
}
