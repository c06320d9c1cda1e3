package consume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/bucket"
	"github.com/sluice-mail/sluice/pkg/stream/internal/replays"
	"github.com/sluice-mail/sluice/pkg/stream/internal/settle"
	"github.com/sluice-mail/sluice/pkg/stream/internal/wait"
)

// replayRun is one process's part in a replay.
type replayRun struct {
	*Replay
	engine   *engine
	reg      replays.Registration
	revision uint64
	empty    map[int]time.Time // shards with nothing more to deliver, since when
	last     ReplayProgress
	lastTime time.Time
}

// replayReport is how often a replay tells its progress.
const replayReport = time.Second

var errFinished = errors.New("the replay is finished")

func (r *replayRun) run(ctx context.Context) error {
	r.engine.awaitReady(ctx, r.Ready)
	js := r.engine.js
	var err error
	if r.reg, r.revision, err = r.register(ctx, js, stream.NewReader(r.engine.nc)); err != nil {
		return err
	}
	r.engine.cfg.Consumer = r.reg.Consumer
	for _, b := range r.reg.Ranges {
		if _, err := js.CreateOrUpdateConsumer(ctx, stream.StreamName(b.Shard), r.consumer(b)); err != nil {
			return fmt.Errorf("creating the consumer of replay %s: %w", r.Name, err)
		}
	}
	running, end := context.WithCancelCause(ctx)
	defer end(nil)
	var watching sync.WaitGroup
	watching.Go(func() { r.follow(running, end) })
	watching.Go(func() { r.look(running, end) })
	r.engine.run(running, func(_ context.Context, start func(int, func(context.Context))) {
		for _, b := range r.reg.Ranges {
			f := &fetcher{engine: r.engine, shard: b.Shard, consumer: r.engine.cfg.Consumer, last: b.To, done: func() bool { return running.Err() != nil }}
			start(b.Shard, f.run)
		}
	})
	<-running.Done() // also when there was nothing to fetch
	watching.Wait()
	switch cause := context.Cause(running); {
	case errors.Is(cause, errFinished):
		return r.conclude(ctx)
	case ctx.Err() != nil:
		return fmt.Errorf("replay %s is interrupted; the same name continues it: %w", r.Name, ctx.Err())
	default:
		return errors.Join(cause, r.removeConsumers(ctx))
	}
}

func (r *replayRun) consumer(b replays.Range) jetstream.ConsumerConfig {
	c := stream.ConsumerConfig(r.engine.cfg.Consumer, b.Shard)
	c.DeliverPolicy, c.OptStartSeq, c.InactiveThreshold = jetstream.DeliverByStartSequencePolicy, b.From, replays.Idle
	return c
}

// follow ends the run when another process has finished the replay, or retention has overtaken it.
func (r *replayRun) follow(ctx context.Context, end context.CancelCauseFunc) {
	for n := 0; ctx.Err() == nil; n++ {
		if err := r.followOnce(ctx, end); err != nil && ctx.Err() == nil {
			r.engine.logger.Debug("watching the replay's entry", "error", err)
		}
		wait.For(ctx, r.engine.pace.Backoff(n))
	}
}

func (r *replayRun) followOnce(ctx context.Context, end context.CancelCauseFunc) error {
	kv, err := r.engine.js.KeyValue(ctx, stream.ReplayBucket)
	if err != nil {
		return err
	}
	w, err := kv.Watch(ctx, r.Name)
	if err != nil {
		return err
	}
	defer func() { _ = w.Stop() }()
	seen := false
	for {
		var entry jetstream.KeyValueEntry
		var open bool
		select {
		case <-ctx.Done():
			return nil
		case entry, open = <-w.Updates():
		}
		switch {
		case !open:
			return errors.New("the watch ended")
		case entry == nil: // everything there was has been sent
			if !seen {
				end(errFinished)
			}
		case entry.Operation() != jetstream.KeyValuePut || entry.Revision() < r.revision:
			seen = seen || entry.Operation() == jetstream.KeyValuePut
			if entry.Operation() != jetstream.KeyValuePut && entry.Revision() > r.revision {
				end(errFinished)
			}
		default:
			seen = true
			var reg replays.Registration
			if err := json.Unmarshal(entry.Value(), &reg); err == nil && reg.Failed != "" {
				end(fmt.Errorf("%w: %s", ErrReplayOvertaken, reg.Failed))
			}
		}
	}
}

// look watches the place of the replay in every shard until all of it is settled.
func (r *replayRun) look(ctx context.Context, end context.CancelCauseFunc) {
	for failed := 0; ctx.Err() == nil; {
		finished, progress, err := r.standing(ctx)
		switch {
		case err != nil:
			if failed++; errors.Is(err, jetstream.ErrConsumerNotFound) && failed > 10 {
				end(fmt.Errorf("replay %s: its place in the log is gone (%w); start it again", r.Name, err))
			}
		case finished:
			end(errFinished)
		default:
			failed = 0
			r.report(progress)
		}
		if err := ask(r.engine.driver, (*settle.Settler).TooNew); err != nil {
			end(err)
		}
		wait.For(ctx, r.engine.pace.Look)
	}
}

// standing asks the log how far all processes together are.
func (r *replayRun) standing(ctx context.Context) (finished bool, p ReplayProgress, err error) {
	finished = true
	for _, b := range r.reg.Ranges {
		c, err := r.engine.js.Consumer(ctx, stream.StreamName(b.Shard), r.engine.cfg.Consumer)
		if err != nil {
			return false, p, fmt.Errorf("asking where replay %s stands: %w", r.Name, err)
		}
		info := c.CachedInfo()
		through := info.Delivered.Stream >= b.To || r.nothingLeft(b.Shard, info.NumPending)
		settled := info.NumAckPending == 0 || info.AckFloor.Stream >= b.To
		p.Total += b.Messages
		if through && settled {
			p.Read += b.Messages
			continue
		}
		finished = false
		// Heads are spread evenly enough among the sequences.
		share := float64(min(max(info.Delivered.Stream, b.From-1), b.To)-(b.From-1)) / float64(b.To-b.From+1)
		read := uint64(share * float64(b.Messages))
		p.Read += read - min(read, uint64(info.NumAckPending))
	}
	return finished, p, nil
}

// emptyFor is how long a consumer must have nothing to deliver before that is believed, although the last mail
// of the range was not delivered: its replica may lag, or the mail was removed by hand.
const emptyFor = 10 * time.Second

func (r *replayRun) nothingLeft(shard int, pending uint64) bool {
	since, known := r.empty[shard]
	switch {
	case pending > 0:
		delete(r.empty, shard)
		return false
	case !known:
		r.empty[shard] = time.Now()
		return false
	}
	return time.Since(since) > emptyFor
}

// report adds rate and remaining time, and tells the caller about every second.
func (r *replayRun) report(p ReplayProgress) {
	now := time.Now()
	if r.Progress == nil || (!r.lastTime.IsZero() && now.Sub(r.lastTime) < replayReport) {
		return
	}
	if !r.lastTime.IsZero() && p.Read > r.last.Read {
		p.Rate = float64(p.Read-r.last.Read) / now.Sub(r.lastTime).Seconds()
		p.Left = time.Duration(float64(p.Total-p.Read) / p.Rate * float64(time.Second))
	}
	r.last, r.lastTime = p, now
	r.Progress(p)
}

// conclude takes the replay's traces out of the log. Every process does; the first one finds something to do.
func (r *replayRun) conclude(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if r.Progress != nil {
		r.Progress(ReplayProgress{Read: r.total(), Total: r.total()})
	}
	kv, err := r.engine.js.KeyValue(ctx, stream.ReplayBucket)
	if err == nil {
		err = kv.Delete(ctx, r.Name, jetstream.LastRevision(r.revision))
	}
	if err != nil && !bucket.IsConflict(err) {
		return fmt.Errorf("replay %s is finished, but its entry remains: %w", r.Name, err)
	}
	if bucket.IsConflict(err) {
		return nil // another process has concluded it, and perhaps a new one of the same name runs
	}
	return r.removeConsumers(ctx)
}

func (r *replayRun) total() (n uint64) {
	for _, b := range r.reg.Ranges {
		n += b.Messages
	}
	return n
}

func (r *replayRun) removeConsumers(ctx context.Context) error {
	for _, b := range r.reg.Ranges {
		err := r.engine.js.DeleteConsumer(ctx, stream.StreamName(b.Shard), r.engine.cfg.Consumer)
		if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return fmt.Errorf("removing the consumer of replay %s: %w", r.Name, err)
		}
	}
	return nil
}
