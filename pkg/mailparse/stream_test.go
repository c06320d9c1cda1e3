package mailparse

import (
	"bytes"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// inPieces reads a few bytes at a time.
func inPieces(raw []byte, r *rand.Rand) io.Reader { return &pieces{raw, r} }

type pieces struct {
	raw  []byte
	rand *rand.Rand
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.raw) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), 1+p.rand.IntN(200))], p.raw)
	p.raw = p.raw[n:]
	return n, nil
}

// checkStream holds a mail read from a stream to the one indexed in memory.
func checkStream(t testing.TB, raw []byte, r *rand.Rand) {
	t.Helper()
	want := Index(raw)
	got, err := Read(inPieces(raw, r))
	if err != nil || got.Flags != want.Flags || len(got.Parts) != len(want.Parts) {
		t.Fatalf("%d parts, flags %v, error %v, want %d parts, flags %v\n%.2000q", len(got.Parts), got.Flags, err, len(want.Parts), want.Flags, raw)
	}
	for i := range got.Parts {
		g, w := &got.Parts[i], &want.Parts[i]
		if g.Header != w.Header || g.Body != w.Body || g.Parent != w.Parent || g.Type != w.Type || g.Role != w.Role || g.Within != w.Within ||
			g.Filename() != w.Filename() || g.ContentID() != w.ContentID() || g.Charset() != w.Charset() || g.Field("subject") != w.Field("subject") {
			t.Fatalf("part %d: %+v, want %+v\n%.2000q", i, g, w, raw)
		}
		data, _ := w.Decoded(math.MaxInt32)
		if g.DecodedLen() != len(data) || w.DecodedLen() != len(data) {
			t.Fatalf("part %d: sizes %d and %d, want %d\n%.2000q", i, g.DecodedLen(), w.DecodedLen(), len(data), raw)
		}
		if read, err := io.ReadAll(g.DecodeFrom(bytes.NewReader(raw))); err != nil || !bytes.Equal(read, data) {
			t.Fatalf("part %d: decodes to %q, %v, want %q", i, read, err, data)
		}
	}
	plain, html, _ := want.Bodies(1000)
	if gotPlain, gotHTML, _, err := got.BodiesFrom(bytes.NewReader(raw), 1000); gotPlain != plain || gotHTML != html || err != nil {
		t.Fatalf("bodies %q and %q, %v, want %q and %q", gotPlain, gotHTML, err, plain, html)
	}
	if s := got.Summary(); s != want.Summary() {
		t.Fatalf("summary %+v, want %+v", s, want.Summary())
	}
	checkSummaryFrom(t, raw, want.Summary(), inPieces(raw, r))
}

// checkSummaryFrom: stopping early changes nothing but the flags.
func checkSummaryFrom(t testing.TB, raw []byte, want Summary, r io.Reader) {
	t.Helper()
	got, err := SummariseFrom(r)
	if !got.Flags.Has(Truncated) {
		check(t, "flags", got.Flags, want.Flags)
	}
	got.Flags, want.Flags = 0, 0
	if err != nil || got != want {
		t.Fatalf("summary from a stream %+v, %v, want %+v\n%.2000q", got, err, want, raw)
	}
}

func TestStreamGivesTheSameTree(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, g := range readGolden(t) {
		checkStream(t, readMail(t, g.File), r)
	}
	for _, mail := range []string{"", "\r", "\n", "Subject: x", mixedB, mixedB + "--b", mixedB + "--b\n--b--", "Content-Type: text/html\n\n<meta charset=big5>\xa7A"} {
		checkStream(t, []byte(crlf(mail)), r)
	}
	checkStream(t, []byte(nest(25, func(int) string { return "b" })), r)
	checkStream(t, []byte(crlf(mixedB)+strings.Repeat("--b\r\n\r\n", 2000)), r)
}

// largeMail has its attachment behind size bytes of text, and ends with an inline picture.
func largeMail(size int) []byte {
	line := strings.Repeat("x", 75) + "=\r\n"
	return []byte(crlf("Subject: \xa7A\xa6n\n"+mixedB+"--b\nContent-Transfer-Encoding: quoted-printable\n\n") + strings.Repeat(line, size/len(line)) +
		crlf("\n--b\nContent-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64\n\n") +
		strings.Repeat(strings.Repeat("QUJD", 19)+"\r\n", size/78) + crlf("\n--b\nContent-Type: text/html\n\n<meta charset=big5>\n--b--\n"))
}

// TestLargeMailIsWalkedToItsEnd: what stands behind megabytes counts, in bounded memory.
func TestLargeMailIsWalkedToItsEnd(t *testing.T) {
	raw := largeMail(3 << 20)
	checkStream(t, raw, rand.New(rand.NewPCG(2, 2)))
	s, err := SummariseFrom(bytes.NewReader(raw))
	check(t, "error", err, nil)
	check(t, "has attachment", s.HasAttachment, true)
	check(t, "subject", s.Subject, "你好")
	check(t, "flags", s.Flags, 0)

	ix := indexer{msg: &Message{streamed: true}, window: window{from: bytes.NewReader(raw)}}
	check(t, "error", ix.read(), nil)
	if cap(ix.buf) > 4*readAhead || cap(ix.msg.text) > 64<<10 {
		t.Errorf("a window of %d bytes and %d bytes of headers for %d", cap(ix.buf), cap(ix.msg.text), len(raw))
	}
}

// TestSummaryStopsAtTheAttachment: a large mail is seldom read twice.
func TestSummaryStopsAtTheAttachment(t *testing.T) {
	raw := crlf("Subject: x\n"+mixedB+"--b\nContent-Type: text/plain; charset=utf-8\n\nhi\n--b\nContent-Type: application/pdf\n\n") + strings.Repeat("%PDF\r\n", 1<<18)
	left := strings.NewReader(raw)
	s, err := SummariseFrom(left)
	check(t, "error", err, nil)
	check(t, "has attachment", s.HasAttachment, true)
	check(t, "flags", s.Flags, Truncated)
	if read := len(raw) - left.Len(); read > 2*readAhead {
		t.Errorf("%d bytes read of %d", read, len(raw))
	}
}

// TestStreamedHeadersAreBounded: parts keep their place and role when there is no room for their headers.
func TestStreamedHeadersAreBounded(t *testing.T) {
	part := "--b\r\nContent-Disposition: attachment; filename=a\r\nX: " + strings.Repeat("x", 200<<10) + "\r\n\r\n"
	raw := crlf("Content-Type: multipart/mixed; boundary=b\n\n") + strings.Repeat(part, 20)
	ix := indexer{msg: &Message{streamed: true}, window: window{from: strings.NewReader(raw)}}
	check(t, "error", ix.read(), nil)
	m := ix.msg
	check(t, "flags", m.Flags, HeaderTooBig|Unclosed)
	check(t, "parts", len(m.Parts), 21)
	check(t, "attachments", len(m.Attachments()), 20)
	check(t, "first", m.Parts[1].Filename(), "a")
	check(t, "last", m.Parts[20].Filename(), "")
	if total := cap(ix.buf) + cap(m.text); total > 4<<20 {
		t.Errorf("%d bytes in memory", total)
	}
}

func TestStreamThatFails(t *testing.T) {
	broken := errors.New("broken")
	raw := crlf(mixedB + "--b\nContent-Disposition: attachment\n\nx")
	m, err := Read(io.MultiReader(strings.NewReader(raw), iotest.ErrReader(broken)))
	check(t, "is", errors.Is(err, broken), true)
	check(t, "flags", m.Flags.Has(Truncated), true)
	check(t, "parts", len(m.Parts), 2)
	_, err = SummariseFrom(iotest.ErrReader(broken))
	check(t, "is", errors.Is(err, broken), true)
	_, err = Read(neverReader{})
	check(t, "is", errors.Is(err, io.ErrNoProgress), true)
	_, _, err = Index([]byte(raw)).Parts[1].TextFrom(iotestReaderAt{broken}, 10)
	check(t, "is", errors.Is(err, broken), true)
}

type neverReader struct{}

func (neverReader) Read([]byte) (int, error) { return 0, nil }

type iotestReaderAt struct{ err error }

func (r iotestReaderAt) ReadAt([]byte, int64) (int, error) { return 0, r.err }
