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
	"github.com/sluice-mail/sluice/pkg/stream/consume"
)

// Small mail does not wait for the large mail of its batch: it is announced before anything is read of that one.
//
// The handler is given the batch, instead of a worker that fetches it: a worker waits only a moment for a batch to fill, and on a
// busy machine the first large mail can be one of its own.
func TestSmallMailIsStoredBeforeLargeIsRead(t *testing.T) {
	p := newPipeline(t, openSQLite)
	raw := []byte("Subject: large\r\n\r\n" + strings.Repeat("a line of a large mail\r\n", 100_000))
	large := []ulid.ULID{p.publishRaw(raw, "first@b.example", "u@example.com")}
	var small []ulid.ULID
	for i := range 10 {
		small = append(small, p.publish(fmt.Sprintf("s%d@b.example", i), "u@example.com"))
	}
	large = append(large, p.publishRaw(raw, "last@b.example", "u@example.com"))
	batch := p.log()
	if len(batch) != len(small)+len(large) || batch[0].ID != large[0] || batch[len(batch)-1].ID != large[1] {
		t.Fatalf("the log has %d mails, which do not begin and end with the large ones", len(batch))
	}
	// One channel, so that the order of both kinds is that in which the storer sent them.
	seen := make(chan *nats.Msg, 1000)
	for _, subject := range []string{stream.StoredSubjects, "$JS.API.DIRECT.GET." + stream.StreamName(0)} {
		if _, err := p.conn.ChanSubscribe(subject, seen); err != nil {
			t.Fatal(err)
		}
	}
	for i, v := range newHandler(p.service.deps, p.service.metrics).Handle(t.Context(), batch) {
		if v != consume.Done() {
			t.Errorf("mail %d: %v", i, v)
		}
	}
	var announced []string
	reads := 0
	for deadline := time.After(time.Minute); len(announced) < len(batch); {
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

// log is all the mail of the log in its order, large mail without its parts.
func (p *pipeline) log() (mails []*stream.Message) {
	p.t.Helper()
	reader := stream.NewReader(p.conn)
	all, err := reader.Snapshot(p.t.Context(), time.Time{})
	if err != nil {
		p.t.Fatal(err)
	}
	for _, b := range all {
		err := reader.Heads(p.t.Context(), b, func(h stream.Head) error {
			m, err := reader.Message(p.t.Context(), h.Shard, h.Sequence, h.Index)
			mails = append(mails, m)
			return err
		})
		if err != nil {
			p.t.Fatal(err)
		}
	}
	return mails
}
