package consume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/wait"
)

// fetcher takes the mails of one shard out of its consumer and makes batches of them. One fetch is open at a
// time, bounded in messages and bytes; what it brings is the prefetch of the lanes.
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
	defer f.trouble.open(name)
	for n := 0; ctx.Err() == nil; n++ {
		consumer, err := f.js.Consumer(ctx, name, f.consumer)
		if err == nil {
			f.trouble.open(name)
			var fetched bool
			if fetched, err = f.fetchAll(ctx, consumer); fetched {
				n = 0
			}
		}
		if err == nil || ctx.Err() != nil || (f.done != nil && f.done()) {
			return
		}
		f.trouble.close(name, fmt.Errorf("waiting for %s: %w", name, err))
		if n == 1 { // not for what the next try cures
			f.logger.Warn("waiting for the log; trying until it is there", "stream", name, "reason", err)
		}
		wait.For(ctx, f.pace.Backoff(n))
	}
}

// fetchAll fetches until ctx ends or done says so (nil), or the consumer fails.
func (f *fetcher) fetchAll(ctx context.Context, consumer jetstream.Consumer) (fetched bool, err error) {
	for {
		if f.gate.wait(ctx) != nil || (f.done != nil && f.done()) {
			return fetched, nil
		}
		want := f.cfg.BatchMails
		if f.passed {
			// Only what other processes let go may still come; all else is live mail, not ours.
			wait.For(ctx, f.pace.Look)
			want = 1
		}
		open, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.fetchWait())
		batch, err := consumer.Fetch(want, f.fetchOptions(open)...)
		if err != nil {
			cancel()
			return fetched, fmt.Errorf("fetching from %s: %w", stream.StreamName(f.shard), err)
		}
		got := f.assemble(ctx, batch.Messages(), cancel)
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

// heartbeat makes the server speak while a fetch waits: what it does not know any more, after a restart, is
// noticed after two of them.
const heartbeat = 2 * time.Second

func (f *fetcher) fetchOptions(open context.Context) []jetstream.FetchOpt {
	opts := []jetstream.FetchOpt{jetstream.FetchMaxBytes(f.cfg.BatchBytes), jetstream.FetchContext(open)}
	if f.done == nil {
		opts = append(opts, jetstream.FetchHeartbeat(heartbeat))
	}
	return opts
}

// assemble makes batches of what the fetch brings and hands them to the lanes; cancel ends the fetch. A batch
// goes when it is full, when no more mail came within the linger, or when the fetch ends. While no lane is
// free, it keeps taking what the fetch brings, so that everything we were given is extended.
func (f *fetcher) assemble(ctx context.Context, in <-chan jetstream.Msg, cancel func()) (got int) {
	var (
		waiting []*delivery
		linger  = newStoppedTimer()
		idle    = newStoppedTimer()
		ready   bool
		stop    = ctx.Done()
	)
	defer linger.Stop()
	defer idle.Stop()
	for in != nil || len(waiting) > 0 {
		next := f.cut(waiting)
		var out chan<- []*delivery
		if len(next) > 0 && (ready || in == nil || len(next) < len(waiting) || mailsOf(next) >= f.cfg.BatchMails) {
			out = f.batches
		}
		select {
		case msg, ok := <-in:
			if !ok {
				in = nil
				continue
			}
			got++
			if d := f.accept(msg); d != nil {
				if waiting = append(waiting, d); len(waiting) == 1 {
					linger.Reset(f.pace.Linger)
				}
			}
			if stop == nil {
				idle.Reset(lull)
			}
		case out <- next:
			waiting, ready = waiting[len(next):], false
			if len(waiting) > 0 {
				linger.Reset(f.pace.Linger)
			}
		case <-linger.C:
			ready = len(waiting) > 0
		case <-stop:
			stop = nil
			idle.Reset(lull)
		case <-idle.C:
			cancel()
		}
	}
	return got
}

// accept takes a message into our hands; nil when it needs no handling.
func (f *fetcher) accept(msg jetstream.Msg) *delivery {
	d, err := newDelivery(msg, time.Now())
	if err != nil {
		f.logger.Error("the log sent a message that is not from a stream", "subject", msg.Subject(), "error", err)
		return nil
	}
	if f.last > 0 && d.record.Sequence > f.last {
		f.passed = true
		f.finish(d, d.msg.Ack)
		return nil
	}
	f.held.add(d)
	return d
}

// cut returns the first batch of what waits, one message at least.
func (f *fetcher) cut(waiting []*delivery) []*delivery {
	mails, bytes := 0, 0
	for i, d := range waiting {
		mails, bytes = mails+d.mails, bytes+d.bytes
		if i > 0 && (mails > f.cfg.BatchMails || bytes > f.cfg.BatchBytes) {
			return waiting[:i:i]
		}
	}
	return waiting[:len(waiting):len(waiting)]
}

func mailsOf(batch []*delivery) (n int) {
	for _, d := range batch {
		n += d.mails
	}
	return n
}

func newStoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}
