package storer

import (
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"
)

// A large mail is listed with what stands at its end: its parts are walked, not only its first bytes.
func TestLargeMailIsListedWithItsLastPart(t *testing.T) {
	p := start(t)
	text := "--b\r\nContent-Type: text/html\r\n\r\n<meta charset=big5>" + strings.Repeat("a line of a large mail\r\n", 100_000)
	file := "--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=a.pdf\r\n\r\n%PDF\r\n"
	header := "Subject: \xa7A\xa6n\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
	with := p.publishRaw([]byte(header+text+file+"--b--\r\n"), "with@b.example", "u@example.com")
	without := p.publishRaw([]byte(header+text+"--b--\r\n"), "without@b.example", "u@example.com")
	p.within("both are stored", func() bool { return p.stored(with) && p.stored(without) })
	entries, err := p.store.Inbox(t.Context(), "u@example.com", ulid.ULID{}, 10)
	if err != nil || len(entries) != 2 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	for _, e := range entries {
		if e.HasAttachment != (e.ID == with) || e.Subject != "你好" || e.Charset != "big5" {
			t.Errorf("the mail of %s is listed as %+v", e.Sender, e.Derived)
		}
	}
}
