package consume

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluice-mail/sluice/pkg/stream/internal/settle"
)

// driver gives a settler its clock, its connection and its goroutines, and carries out its effects.
type driver struct {
	*engine
	jobs   chan *settle.Job
	writes chan settle.Write
	reads  chan settle.Place
	wake   chan struct{}

	mu       sync.Mutex
	s        *settle.Settler
	due      time.Time     // when the settler wanted to be ticked after the last event, zero: never
	sleeping time.Time     // until then the clock sleeps, zero: until it is woken
	changed  chan struct{} // closed at the next event; nil unless somebody waits for that
}

func newDriver(e *engine, s settle.Settings) *driver {
	return &driver{
		engine: e, s: settle.New(s), wake: make(chan struct{}, 1),
		// As many as the settler has under way at once, so that nobody waits to hand one over.
		jobs: make(chan *settle.Job, s.Workers+1), writes: make(chan settle.Write, 1), reads: make(chan settle.Place, 1),
	}
}

// tell gives the settler an event and does what follows from it.
func (d *driver) tell(event func(s *settle.Settler, now time.Time)) {
	d.mu.Lock()
	now := time.Now()
	if !d.due.IsZero() && !now.Before(d.due) {
		d.s.Tick(now) // the clock is late, and after the event the settler names only what is due later
	}
	event(d.s, now)
	out := d.s.Collect()
	if d.changed != nil {
		close(d.changed)
		d.changed = nil
	}
	d.due = d.s.Wake(now)
	earlier := !d.due.IsZero() && (d.sleeping.IsZero() || d.due.Before(d.sleeping))
	d.mu.Unlock()
	if earlier {
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
	d.perform(out)
}

// ask looks at the settler.
func ask[T any](d *driver, question func(s *settle.Settler) T) T {
	d.mu.Lock()
	defer d.mu.Unlock()
	return question(d.s)
}

// until waits until something is so, or ctx ends.
func (d *driver) until(ctx context.Context, so func(s *settle.Settler) bool) error {
	for {
		d.mu.Lock()
		if so(d.s) {
			d.mu.Unlock()
			return ctx.Err()
		}
		if d.changed == nil {
			d.changed = make(chan struct{})
		}
		changed := d.changed
		d.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (d *driver) perform(out settle.Effects) {
	for _, n := range out.Notes {
		d.logger.Log(context.Background(), n.Level, n.Text, n.Attrs...)
	}
	d.metrics.faults.Add(float64(out.Faults))
	for _, f := range out.Finals {
		d.final(f)
	}
	for _, m := range out.Acked {
		for _, taken := range m.Deliveries {
			delivery := taken.(*delivery)
			d.finish(delivery, delivery.msg.Ack)
		}
	}
	for _, j := range out.Jobs {
		d.jobs <- j
	}
	for _, w := range out.Writes {
		d.writes <- w
	}
	for _, p := range out.Reads {
		d.reads <- p
	}
}

// final counts what became of a mail.
func (d *driver) final(f settle.Final) {
	m := f.Mail
	switch f.Fate {
	case settle.FateDone:
		d.count.done.Add(1)
		d.count.bytes.Add(m.Envelope.GetSize())
		d.metrics.age.Observe(time.Since(m.Time).Seconds())
	case settle.FateUnselected:
		d.count.skipped.Add(1)
	case settle.FateGone:
		d.logger.Info("a large mail has left the log, so another process has settled it", "id", m.Key(), "place", m.Place())
	case settle.FateSkipped:
		d.metrics.dead.Inc()
		d.count.dead.Add(1)
		d.logger.Warn("skipping a mail that cannot be handled", "id", m.Key(), "reason", f.Reason)
	case settle.FateBuried:
		d.metrics.dead.Inc()
		d.count.dead.Add(1)
		d.logger.Error("dead letter: a mail cannot be stored", "id", m.Key(), "place", m.Place(), "attempts", m.Delivered, "reason", f.Reason)
	}
}

// clock ticks the settler when it wants to be ticked, and tells it about the connection, until ctx ends.
func (d *driver) clock(ctx context.Context) {
	changes := d.nc.StatusChanged()
	defer d.nc.RemoveStatusListener(changes)
	d.tell(func(s *settle.Settler, now time.Time) { s.Link(now, d.nc.IsConnected()) })
	d.tick(ctx, changes)
}

// tick ticks the settler at the time that it named after the last event. It is not asked again here: when this goroutine is
// late, that time has passed, and the settler names only later ones.
func (d *driver) tick(ctx context.Context, changes <-chan nats.Status) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		d.mu.Lock()
		wait := time.Hour
		if d.sleeping = d.due; !d.sleeping.IsZero() {
			wait = max(time.Until(d.sleeping), 0)
		}
		d.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-d.wake:
		case status, ok := <-changes:
			if !ok { // the connection was closed for good
				changes = nil
			}
			d.tell(func(s *settle.Settler, now time.Time) { s.Link(now, status == nats.CONNECTED) })
		case <-timer.C:
			d.tell(func(s *settle.Settler, now time.Time) { s.Tick(now) })
		}
	}
}
