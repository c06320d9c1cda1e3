package consume

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/stream/internal/record"
)

// delivery is one message in the worker's hands: fetched, not yet settled.
type delivery struct {
	msg       jetstream.Msg
	record    record.Record
	delivered uint64
	taken     time.Time
}

func newDelivery(msg jetstream.Msg, now time.Time) (*delivery, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, err
	}
	return &delivery{
		msg: msg,
		record: record.Record{
			Stream: meta.Stream, Subject: msg.Subject(), Sequence: meta.Sequence.Stream,
			Time: meta.Timestamp, Header: msg.Headers(), Data: msg.Data(),
		},
		delivered: meta.NumDelivered,
		taken:     now,
	}, nil
}

// held is every delivery in the worker's hands. The server would deliver them again after AckWait; telling it
// that we work on them, however long a batch or an outage takes, keeps their deliveries from being used up.
type held struct {
	mu  sync.Mutex
	all map[*delivery]struct{}
}

func newHeld() *held { return &held{all: make(map[*delivery]struct{})} }

func (h *held) add(d *delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all[d] = struct{}{}
}

func (h *held) drop(d *delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.all, d)
}

// oldest is when the delivery held longest was taken, zero when none is held.
func (h *held) oldest() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	var t time.Time
	for d := range h.all {
		if t.IsZero() || d.taken.Before(t) {
			t = d.taken
		}
	}
	return t
}

// extend tells the server every interval that the worker still works on what it holds.
func (h *held) extend(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		h.mu.Lock()
		all := make([]*delivery, 0, len(h.all))
		for d := range h.all {
			all = append(all, d)
		}
		h.mu.Unlock()
		for _, d := range all {
			// An error is harmless: after a lost connection it is sent again next time, and an acknowledged message needs it no more.
			_ = d.msg.InProgress()
		}
	}
}
