package api

import (
	"bytes"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// TestListsAreWrittenAsJSON: byte for byte what encoding/json writes.
func TestListsAreWrittenAsJSON(t *testing.T) {
	var every []byte
	for c := range 256 {
		every = append(every, byte(c))
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 67_000_000, time.UTC)
	for _, text := range []string{"", "plain", "Grüße 😀", "a\u2028b\u2029c\u2027", "\ufffd", "\xff\xfe", string(every), "<script>&\"\\/", "\x7f", "\xe2\x80"} {
		s := Summary{ID: text, Mailbox: text, Sender: text, From: text, To: text, Subject: text, Received: at, Stored: at.Truncate(time.Second), Size: -1 << 63, Seen: true}
		for _, list := range []List{{Messages: []Summary{}}, {Mailbox: text, Messages: []Summary{s}}, {Messages: []Summary{s, {}, s}, Next: "x" + text}} {
			var want bytes.Buffer
			if err := huma.DefaultJSONFormat.Marshal(&want, &list); err != nil {
				t.Fatal(err)
			}
			if got := list.appendJSON(nil); string(got) != want.String() {
				t.Errorf("%q\n%s\nwant\n%s", text, got, &want)
			}
		}
	}
}

func FuzzStringsAreWrittenAsJSON(f *testing.F) {
	f.Add("a\"b\\c\u2028\xff")
	f.Fuzz(func(t *testing.T, text string) {
		list := List{Mailbox: text, Messages: []Summary{}}
		var want bytes.Buffer
		if err := huma.DefaultJSONFormat.Marshal(&want, &list); err != nil {
			t.Fatal(err)
		}
		if got := list.appendJSON(nil); string(got) != want.String() {
			t.Errorf("%q\n%s\nwant\n%s", text, got, &want)
		}
	})
}
