package publish

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/streamtest"
)

// gathering is a committer that waits for 20 mails, as after a batch of so many, until time is up.
func gathering(p *Publisher) *committer {
	c := testShard(p).queue
	c.landed = landing{until: time.Now().Add(time.Hour), mails: 20}
	return c
}

// ahead puts mails into the queue and checks how many of all that wait are in the open batch then.
func ahead(t *testing.T, c *committer, mails []*item, want int) {
	t.Helper()
	c.enqueue(mails...)
	if sent := c.sendAhead(); sent != (c.open != nil && want > 0) || c.ahead != want {
		t.Errorf("%d of %d that wait were sent ahead (now: %v), want %d", c.ahead, len(c.queue), sent, want)
	}
}

// told waits for the results of all.
func told(t *testing.T, mails []*item) (errs []error) {
	t.Helper()
	for i, it := range mails {
		select {
		case err := <-it.done:
			errs = append(errs, err)
		case <-time.After(10 * time.Second):
			t.Fatalf("mail %d was told nothing", i)
		}
	}
	return errs
}

// TestSentAhead: while a flight waits for more mails, the log gets those that wait, as members of its batch; the newest
// is kept to carry the commit. Mails that will not make a batch are not sent.
func TestSentAhead(t *testing.T) {
	f, p := startFakeLog(t, ackBatch)
	c := gathering(p)
	mails := newItems(t, 20)
	c.enqueue(mails[:breakEven]...)
	if c.sendAhead() {
		t.Errorf("%d mails wait, which is no batch yet, and some were sent", breakEven)
	}
	ahead(t, c, mails[breakEven:12], 11)
	streamtest.Eventually(t, "the log has them staged", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.staged) == 1 && len(f.staged[c.open.id]) == 11 && len(f.attempts) == 0
	})
	ahead(t, c, mails[12:], 19)
	flight, open, _ := c.depart()
	if len(flight) != 20 || open == nil || c.open != nil || c.ahead != 0 {
		t.Fatalf("a flight of %d mails left with batch %v; the next one has %v with %d", len(flight), open, c.open, c.ahead)
	}
	c.fly(t.Context(), flight, open)
	for i, err := range told(t, mails) {
		if err != nil {
			t.Errorf("mail %d was told %v", i, err)
		}
	}
	f.compare(t, []string{"B"}, 20, false)
}

// TestNotSentAhead: nothing is sent when the batch could not be committed soon, or is none.
func TestNotSentAhead(t *testing.T) {
	for name, obstacle := range map[string]func(c *committer){
		"two flights in the air": func(c *committer) { c.aloft = singleFlights },
		"no connection":          func(c *committer) { c.publisher.link.set(false) },
		"a Raft group":           func(c *committer) { c.shard.replicas = 3 },
		"no atomic publish":      func(c *committer) { c.shard.atomic = false },
	} {
		t.Run(name, func(t *testing.T) {
			_, p := startFakeLog(t, ackBatch)
			c := gathering(p)
			obstacle(c)
			c.enqueue(newItems(t, 15)...)
			if c.sendAhead() || c.open != nil || c.ahead != 0 {
				t.Errorf("%d mails were sent ahead", c.ahead)
			}
		})
	}
}

// TestSentAheadFitsTheFlight: what is sent ahead leaves with the next flight, even if more waits than fits into it.
func TestSentAheadFitsTheFlight(t *testing.T) {
	_, p := startFakeLog(t, ackBatch)
	c := gathering(p)
	mails := newItems(t, 30)
	for _, it := range mails {
		it.size = maxBatchBytes / 25
	}
	ahead(t, c, mails, 24)
	if flight, open, _ := c.depart(); len(flight) != 25 || open == nil || c.ahead != 0 {
		t.Errorf("a flight of %d mails left, with batch %v; %d of the next were sent ahead", len(flight), open, c.ahead)
	}
}

// TestGivenUpAfterSentAhead: a mail in the open batch may still be stored, and its sender must not be told otherwise. When
// nobody is left who could carry the commit, the others go in another batch.
func TestGivenUpAfterSentAhead(t *testing.T) {
	for name, tt := range map[string]struct {
		gone  int
		wants error
		sends int // mails in the one batch that was committed
	}{
		"sent":              {0, ErrUnconfirmed, 20},
		"not sent":          {18, ErrUnavailable, 19},
		"the commit's mail": {19, ErrUnavailable, 19},
	} {
		t.Run(name, func(t *testing.T) {
			f, p := startFakeLog(t, ackBatch)
			c := gathering(p)
			mails := newItems(t, 20)
			sentAhead := 18
			if tt.gone == 19 {
				sentAhead = 19
			}
			ahead(t, c, mails[:sentAhead+1], sentAhead)
			c.enqueue(mails[sentAhead+1:]...)
			if err := mails[tt.gone].expired(context.DeadlineExceeded); !errors.Is(err, tt.wants) {
				t.Errorf("whose time is up was told %v, want %v", err, tt.wants)
			}
			flight, open, _ := c.depart()
			c.fly(t.Context(), flight, open)
			for i, err := range told(t, slices.Delete(slices.Clone(mails), tt.gone, tt.gone+1)) {
				if err != nil {
					t.Errorf("mail %d was told %v", i, err)
				}
			}
			f.compare(t, []string{"B"}, tt.sends, false)
		})
	}
}

// TestOpenBatchOfADrainedQueue: mails that were sent ahead and taken back are stored once, though the log has them staged
// in a batch that nobody commits.
func TestOpenBatchOfADrainedQueue(t *testing.T) {
	l := startLog(t, oneShard())
	p := startPublisher(t, l.nc, Config{})
	waitReady(t, p)
	c := gathering(p)
	mails := newItems(t, 20)
	ahead(t, c, mails[:15], 14)
	if back := c.drain(); len(back) != 15 || c.open != nil || c.ahead != 0 {
		t.Fatalf("%d mails came back; the next flight has batch %v", len(back), c.open)
	}
	ahead(t, c, mails, 19)
	flight, open, _ := c.depart()
	c.fly(t.Context(), flight, open)
	for i, err := range told(t, mails) {
		if err != nil {
			t.Errorf("mail %d was told %v", i, err)
		}
	}
	s, err := l.js.Stream(t.Context(), stream.StreamName(0))
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.Info(t.Context())
	if err != nil || info.State.Msgs != 20 {
		t.Errorf("the log has %d messages (%v), want 20", info.State.Msgs, err)
	}
}
