package consume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/record"
	"github.com/sluice-mail/sluice/pkg/stream/internal/settle"
	"github.com/sluice-mail/sluice/pkg/stream/internal/wait"
)

// fetcher takes the messages of one shard out of its consumer and gives them to the settler. One fetch is open at a time,
// bounded in messages and bytes; what it brings is the prefetch.
type fetcher struct {
	*engine
	shard    int
	consumer string
	// last, when set, is the end of a replay: what comes after it is settled untouched, and done is called.
	last   uint64
	done   func() bool
	passed bool // last has been seen
}

// lull is how long a fetch must bring nothing before a stopping worker abandons it: a message on its way to a
// fetch that is gone would come again only after AckWait.
const lull = 50 * time.Millisecond

// run fetches until ctx ends (or done says so), whatever happens to the log meanwhile.
func (f *fetcher) run(ctx context.Context) {
	name := stream.StreamName(f.shard)
	defer f.note(name, nil)
	for n := 0; ctx.Err() == nil; n++ {
		consumer, err := f.js.Consumer(ctx, name, f.consumer)
		if err == nil {
			f.note(name, nil)
			var fetched bool
			if fetched, err = f.fetchAll(ctx, consumer); fetched {
				n = 0
			}
		}
		if err == nil || ctx.Err() != nil || (f.done != nil && f.done()) {
			return
		}
		f.note(name, fmt.Errorf("waiting for %s: %w", name, err))
		if n == 1 { // not for what the next try cures
			f.logger.Warn("waiting for the log; retrying until it answers", "stream", name, "reason", err)
		}
		wait.For(ctx, f.pace.Backoff(n))
	}
}

// fetchAll fetches until ctx ends or done says so (nil), or the consumer fails.
func (f *fetcher) fetchAll(ctx context.Context, consumer jetstream.Consumer) (fetched bool, err error) {
	for {
		err := f.driver.until(ctx, func(s *settle.Settler) bool { return s.Hungry(f.shard) })
		if err != nil || (f.done != nil && f.done()) {
			return fetched, nil
		}
		want := f.cfg.BatchMails // each has one mail at least
		if f.passed {
			// Only messages that other processes return may still come; everything else is live mail, which is not part of it.
			wait.For(ctx, f.pace.Look)
			want = 1
		}
		open, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.fetchWait())
		batch, err := consumer.Fetch(want, f.fetchOptions(open)...)
		if err != nil {
			cancel()
			return fetched, fmt.Errorf("fetching from %s: %w", stream.StreamName(f.shard), err)
		}
		got := f.receive(ctx, batch.Messages(), cancel)
		cancel()
		fetched = fetched || got > 0
		if err := batch.Error(); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			return fetched, fmt.Errorf("fetching from %s: %w", stream.StreamName(f.shard), err)
		}
		if ctx.Err() != nil {
			return fetched, nil
		}
	}
}

// fetchWait is how long one fetch waits for mail. A replay looks often whether it is through.
func (f *fetcher) fetchWait() time.Duration {
	if f.done != nil {
		return time.Second
	}
	return 30 * time.Second
}

// heartbeat makes the server send a sign of life while a fetch waits. If the server has forgotten the fetch, after a restart, this is
// noticed when two heartbeats are missing.
const heartbeat = 2 * time.Second

func (f *fetcher) fetchOptions(open context.Context) []jetstream.FetchOpt {
	opts := []jetstream.FetchOpt{jetstream.FetchMaxBytes(f.cfg.BatchBytes), jetstream.FetchContext(open)}
	if f.done == nil {
		opts = append(opts, jetstream.FetchHeartbeat(heartbeat))
	}
	return opts
}

// receive passes the messages of a fetch to the settler; cancel ends the fetch. Messages are taken over as soon as they arrive, so that
// the deadline of each of them is extended.
func (f *fetcher) receive(ctx context.Context, in <-chan jetstream.Msg, cancel func()) (got int) {
	idle := time.NewTimer(time.Hour)
	idle.Stop()
	defer idle.Stop()
	stop := ctx.Done()
	for {
		select {
		case msg, ok := <-in:
			if !ok {
				return got
			}
			got++
			f.accept(msg)
			if stop == nil {
				idle.Reset(lull)
			}
		case <-stop:
			stop = nil
			idle.Reset(lull)
		case <-idle.C:
			cancel()
		}
	}
}

// accept takes a message into our hands.
func (f *fetcher) accept(msg jetstream.Msg) {
	d, err := newDelivery(msg, time.Now())
	if err != nil {
		f.logger.Error("the log sent a message that is not from a stream", "subject", msg.Subject(), "error", err)
		return
	}
	if f.last > 0 && d.record.Sequence > f.last {
		f.passed = true
		f.finish(d, d.msg.Ack)
		return
	}
	f.held.add(d)
	m, err := f.open(d.record)
	m.Delivered, m.Deliveries = d.delivered, []any{d}
	if d.delivered > 1 {
		f.metrics.redeliveries.Add(float64(len(m.Mails)))
	}
	f.driver.tell(func(s *settle.Settler, now time.Time) {
		if err != nil {
			s.Refuse(m, err)
			return
		}
		s.Take(now, m)
	})
}

// open makes a message with its mails of what was read. The error says that this version of the program does not understand
// it; what nobody can read is one mail, which is bad.
func (e *engine) open(r record.Record) (*settle.Message, error) {
	m := &settle.Message{Place: settle.Place{Stream: r.Stream, Sequence: r.Sequence}, Bytes: len(r.Data)}
	m.Shard, _ = stream.Shard(r.Stream)
	mails, err := stream.Decode(r, e.log)
	if errors.Is(err, stream.ErrTooNew) {
		return m, fmt.Errorf("mail at %s: %w; update this program", m.Place, err)
	}
	if err != nil {
		mails = []*stream.Message{stream.Unreadable(r, e.log)}
	}
	for _, it := range mails {
		selected := err != nil || e.selected == nil || e.selected(it)
		m.Mails = append(m.Mails, &settle.Mail{Message: it, Of: m, Bad: err, Unselected: !selected})
	}
	return m, nil
}
