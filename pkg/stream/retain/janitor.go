package retain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/record"
	"github.com/sluice-mail/sluice/pkg/stream/internal/replays"
)

// Config is what retention needs to know.
type Config struct {
	// Shape has Keep; the room of each shard is read from the log itself.
	Shape stream.Shape
	// BeforePurge, when set, is called before the mails from fromSeq to toSeq leave the log (the storer audits
	// them and keeps the tally). Those up to upTo may go then; it is called again for the rest. An error stops the purge; it is
	// tried again later.
	BeforePurge func(ctx context.Context, stream string, fromSeq, toSeq uint64) (upTo uint64, err error)
}

const (
	// A shard is purged down to lowWater of its room, so that there is always room for what comes; at
	// highWater a replay does not hold retention any longer.
	lowWater  = 0.80
	highWater = 0.90
	// purgeStep bounds one purge: the server holds the stream's lock while it rewrites its indexes.
	purgeStep = 128 << 20
	// fillRate, bytes per second, is faster than a log fills whose every mail is synced to disk.
	fillRate = 200e6
)

// Janitor purges stored mail from the log. Only unstored mail is sacred: the log is purged up to the lower of
// the storer's floor and what STREAM_KEEP and the room ask for. A full log therefore means that the database is
// behind, and the ingress answers 452.
type Janitor struct {
	js      jetstream.JetStream
	reader  *stream.Reader
	log     record.Source
	cfg     Config
	logger  *slog.Logger
	metrics *janitorMetrics
	lease   *lease
	step    uint64
	// slow is the pause between two looks at a quiet log, fast that at one which fills.
	slow, fast time.Duration
	wake       chan struct{}
	swept      time.Time
}

// New makes a janitor. Every storer runs one; a lease keeps the work to one of them.
func New(nc *nats.Conn, cfg Config, logger *slog.Logger, reg prometheus.Registerer) (*Janitor, error) {
	if cfg.Shape.Keep < 0 {
		return nil, fmt.Errorf("STREAM_KEEP=%s: it must not be negative", cfg.Shape.Keep)
	}
	metrics, err := newJanitorMetrics(reg)
	if err != nil {
		return nil, err
	}
	js := stream.JetStream(nc)
	return &Janitor{
		js: js, reader: stream.NewReader(nc), log: record.Source{NC: nc}, cfg: cfg, logger: logger, metrics: metrics, lease: newLease(js, stream.JanitorLease, logger),
		step: purgeStep, slow: 5 * time.Second, fast: 20 * time.Millisecond,
		wake: make(chan struct{}, 1),
	}, nil
}

// Run keeps the log to its shape until ctx ends.
func (j *Janitor) Run(ctx context.Context) error {
	var leasing sync.WaitGroup
	leasing.Go(func() { j.lease.keep(ctx, j.poke) })
	defer leasing.Wait()
	failing := ""
	for {
		wait, err := j.round(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			failing = ""
		case err.Error() != failing:
			failing = err.Error()
			j.logger.Warn("retention waits; the log keeps everything meanwhile", "reason", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-j.wake:
		case <-time.After(wait):
		}
	}
}

// Leads says whether the work that one storer does for all is this one's.
func (j *Janitor) Leads() bool { return j.lease.held(time.Now()) }

// poke makes the next look happen now.
func (j *Janitor) poke() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// round looks at every shard once, and purges when the lease is ours. It returns when to look again.
func (j *Janitor) round(ctx context.Context) (time.Duration, error) {
	infos, err := stream.ShardInfos(ctx, j.js)
	wait := j.slow
	errs := []error{err} // a shard that does not answer stops only itself
	for _, info := range infos {
		s := shardState{info: info, now: time.Now()}
		if err := j.tend(ctx, &s); err != nil {
			errs = append(errs, err)
		}
		wait = min(wait, j.until(&s))
	}
	errs = append(errs, j.sweep(ctx))
	return wait, errors.Join(errs...)
}

// tend looks at one shard and purges what may and should go.
func (j *Janitor) tend(ctx context.Context, s *shardState) error {
	var err error
	if s.floor, err = j.reader.SettledUpTo(ctx, s.shard(), stream.Storer); err != nil {
		return err
	}
	j.observe(ctx, s)
	if !j.lease.held(s.now) || !s.due(j.cfg.Shape.Keep) {
		return nil
	}
	holds, err := replays.Holds(ctx, j.js, s.shard())
	if err != nil {
		return err
	}
	limit := s.floor
	for _, h := range holds {
		limit = min(limit, h.UpTo)
	}
	if err := j.purge(ctx, s, limit); err != nil {
		return err
	}
	if limit < s.floor && s.fill() >= highWater {
		for _, h := range holds {
			if h.UpTo >= s.floor {
				continue
			}
			j.logger.Warn("the log needs the room of mail that a replay has not read yet; the replay ends", "replay", h.Name, "stream", s.info.Config.Name, "sequence", h.UpTo)
			if err := h.Overtake(ctx, j.js, s.shard(), s.fill()); err != nil {
				return err
			}
		}
		return j.purge(ctx, s, s.floor)
	}
	return nil
}

// until is when a shard must be looked at again: before it could be full, at fillRate.
func (j *Janitor) until(s *shardState) time.Duration {
	left := s.info.Config.MaxBytes - int64(s.info.State.Bytes)
	if s.info.Config.MaxBytes <= 0 || left > int64(j.slow.Seconds()*fillRate) {
		return j.slow
	}
	return max(time.Duration(float64(left)/fillRate*float64(time.Second)), j.fast)
}
