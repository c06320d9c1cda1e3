package storer

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/stream"
)

// Small mail does not wait for the large mail of its batch: it is announced before anything is read of that one.
func TestSmallMailIsStoredBeforeLargeIsRead(t *testing.T) {
	p := newPipeline(t, openSQLite)
	// One channel, so that the order of both kinds is that in which the storer sent them.
	seen := make(chan *nats.Msg, 1000)
	for _, subject := range []string{stream.StoredSubjects, "$JS.API.DIRECT.GET." + stream.StreamName(0)} {
		if _, err := p.conn.ChanSubscribe(subject, seen); err != nil {
			t.Fatal(err)
		}
	}
	raw := []byte("Subject: large\r\n\r\n" + strings.Repeat("a line of a large mail\r\n", 100_000))
	large := []ulid.ULID{p.publishRaw(raw, "first@b.example", "u@example.com")}
	var small []ulid.ULID
	for i := range 10 {
		small = append(small, p.publish(fmt.Sprintf("s%d@b.example", i), "u@example.com"))
	}
	large = append(large, p.publishRaw(raw, "last@b.example", "u@example.com"))
	p.run(p.service.Run)
	var announced []string
	reads := 0
	for deadline := time.After(30 * time.Second); len(announced) < len(small)+len(large); {
		select {
		case msg := <-seen:
			if strings.HasPrefix(msg.Subject, "$JS") {
				if reads++; reads == 1 && len(announced) != len(small) {
					t.Errorf("a large mail was read when %d of %d small mails had been announced", len(announced), len(small))
				}
				continue
			}
			for _, id := range append(small, large...) {
				if strings.Contains(string(msg.Data), id.String()) {
					announced = append(announced, id.String())
				}
			}
		case <-deadline:
			t.Fatalf("announced %d mails, read %d times", len(announced), reads)
		}
	}
	want := make([]string, 0, len(announced))
	for _, id := range append(small, large...) {
		want = append(want, id.String())
	}
	if !slices.Equal(announced, want) || reads == 0 {
		t.Errorf("announced in the order %v, want %v; %d reads", announced, want, reads)
	}
}
