package publish

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-mail/sluice/pkg/stream"
)

// driver gives one shard's committer its clock, its connection and its callers, and carries out its actions.
type driver struct {
	publisher *Publisher
	shard     *shard
	large     atomic.Int64 // bytes of mails on their way to this shard past the committer
	wake      chan struct{}

	mu       sync.Mutex
	c        *committer
	unsent   []attempt
	sleeping time.Time     // until then run sleeps, zero: until it is woken
	quiet    chan struct{} // closed when the committer is idle; nil unless somebody waits for that
}

func newDriver(p *Publisher, s *shard) *driver {
	d := &driver{publisher: p, shard: s, wake: make(chan struct{}, 1), c: newCommitter(defaultLimits())}
	d.c.answer = p.answerWait
	return d
}

// tell gives the committer an event and does what follows from it, but for sending, which is run's.
func (d *driver) tell(event func(c *committer, now time.Time)) {
	d.mu.Lock()
	event(d.c, time.Now())
	out, signal := d.collect()
	d.mu.Unlock()
	d.perform(out)
	if signal {
		d.signal()
	}
}

// collect takes over what the committer wants; signal says that run has something to do. d.mu is held.
func (d *driver) collect() (out effects, signal bool) {
	out = d.c.take()
	d.unsent = append(d.unsent, out.send...)
	if d.quiet != nil && d.c.idle() {
		close(d.quiet)
		d.quiet = nil
	}
	wake := d.c.wake()
	return out, len(out.send) > 0 || !wake.IsZero() && (d.sleeping.IsZero() || wake.Before(d.sleeping))
}

func (d *driver) perform(out effects) {
	d.publisher.release(out.release) // first, so that whoever is told finds the room free
	for _, r := range out.settle {
		if r.err != nil {
			r.err = fmt.Errorf("publishing mail %s: %w", r.item.id, r.err)
		}
		r.item.done <- r.err
	}
	for _, n := range out.notes {
		d.publisher.metrics.answers.WithLabelValues(n.answer.label()).Inc()
		d.shard.note(n.outcome, n.answer, n.bytes)
		if n.outcome == wrong {
			d.publisher.logger.Error("the log refuses a message; its mails are sent one by one, and the sender of the mail at fault is told to try again",
				"shard", d.shard.number, "reason", n.answer.reason())
		}
	}
	if out.trouble {
		d.publisher.reroute(d)
	}
}

func (d *driver) signal() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// run sends what the committer wants sent, and ticks it, until ctx ends.
func (d *driver) run(ctx context.Context) {
	answers := d.publisher.replies.listen(func(number int, a answer) {
		d.tell(func(c *committer, now time.Time) { c.answered(now, uint64(number), a) })
	})
	defer answers.close()
	unfollow := d.publisher.link.subscribe(func(up bool) {
		d.tell(func(c *committer, now time.Time) { c.link(now, up) })
	})
	defer unfollow()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		sends := d.next(timer)
		for _, a := range sends {
			d.publisher.metrics.packMails.Observe(float64(len(a.pack.items)))
			err := d.publisher.nc.PublishMsg(a.message(stream.HeadSubject(d.shard.number), answers.subject(int(a.number))))
			if err != nil {
				err = fmt.Errorf("%w: %w", errDisconnected, err)
			}
			d.tell(func(c *committer, now time.Time) { c.sent(now, a, err) })
		}
		if len(sends) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
		case <-d.wake:
		case <-timer.C:
		}
	}
	d.tell(func(c *committer, _ time.Time) { c.stop() })
}

// next ticks the committer, sets the timer to when it wants the next tick, and returns what is to be sent.
func (d *driver) next(timer *time.Timer) []attempt {
	d.mu.Lock()
	d.sleeping = time.Time{}
	now := time.Now()
	d.c.tick(now)
	out, _ := d.collect()
	sends := d.unsent
	d.unsent = nil
	wait := time.Hour
	if d.sleeping = d.c.wake(); !d.sleeping.IsZero() {
		wait = max(d.sleeping.Sub(now), 0)
	}
	timer.Reset(wait)
	d.mu.Unlock()
	d.perform(out)
	return sends
}

// publish waits for the result of a mail.
func (d *driver) publish(ctx context.Context, it *item) error {
	it.home.Store(d)
	d.tell(func(c *committer, now time.Time) { c.add(now, it) })
	select {
	case err := <-it.done:
		return err
	case <-ctx.Done():
		return it.leave(context.Cause(ctx))
	}
}

// leave stops waiting for a mail. If an answer arrives at the same moment, the answer counts.
func (it *item) leave(cause error) error {
	for {
		d := it.home.Load()
		d.mu.Lock()
		if it.home.Load() != d { // rerouted meanwhile
			d.mu.Unlock()
			continue
		}
		if it.decided {
			d.mu.Unlock()
			return <-it.done
		}
		err := d.c.leave(time.Now(), it, cause)
		out, signal := d.collect()
		d.mu.Unlock()
		d.perform(out)
		if signal {
			d.signal()
		}
		return fmt.Errorf("publishing mail %s: %w", it.id, err)
	}
}

// letPassMost bounds letPass, so that large mail also gets its turn under a load that never pauses.
const letPassMost = 100 * time.Millisecond

// letPass waits until no small mail is waiting, but at most letPassMost. The commit of a large mail occupies the stream for a
// tenth of a second or more, and small mail that waited for one large mail should not have to wait for the next one.
func (d *driver) letPass(ctx context.Context) {
	d.mu.Lock()
	if d.c.idle() {
		d.mu.Unlock()
		return
	}
	if d.quiet == nil {
		d.quiet = make(chan struct{})
	}
	quiet := d.quiet
	d.mu.Unlock()
	timer := time.NewTimer(letPassMost)
	defer timer.Stop()
	select {
	case <-quiet:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// load is how many bytes wait for this shard, at least 1 when something does.
func (d *driver) load() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.c.load() + int(d.large.Load())
}

// idle says that nothing is waiting for this shard.
func (d *driver) idle() bool { return d.load() == 0 }

// full says that a whole pack is waiting.
func (d *driver) full() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.c.full()
}
