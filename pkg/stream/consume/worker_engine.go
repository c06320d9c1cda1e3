package consume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/pace"
	"github.com/sluice-mail/sluice/pkg/stream/internal/record"
	"github.com/sluice-mail/sluice/pkg/stream/internal/wait"
)

// engine is what a Worker and a Replay have in common:
//
//	fetch (one goroutine per shard) ──▶ batches ──▶ lanes (Workers goroutines) ──▶ Handler ──▶ settle: ack, retry, bury
//	        ▲ gate: shut while something is away                                   held: extended until settled
type engine struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	cfg      Config
	handler  Handler
	logger   *slog.Logger
	metrics  *workerMetrics
	log      record.Source
	gate     *gate
	trouble  *gate // holds nothing up; shards that cannot be fetched from, for health
	held     *held
	batches  chan []*delivery
	pace     pace.Pace
	before   func(ctx context.Context, mails int) error // replay: the rate
	selected func(*stream.Message) bool                 // replay: the filter; nil selects every mail
	count    counts
	shards   atomic.Int64 // shards that are consumed
	stuck    time.Duration

	returnMu sync.Mutex
	returned []*delivery // held until the worker stops, then for others to take
}

// counts is what became of the mails, for the summary of a replay.
type counts struct{ done, dead, skipped, bytes atomic.Uint64 }

func newEngine(nc *nats.Conn, cfg Config, handler Handler, logger *slog.Logger, metrics *workerMetrics) (*engine, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("preparing the client of the log: %w", err)
	}
	return &engine{
		nc: nc, js: js, cfg: cfg, handler: handler, logger: logger.With("consumer", cfg.Consumer), metrics: metrics,
		log: record.Source{NC: nc}, gate: newGate(), trouble: newGate(), held: newHeld(), batches: make(chan []*delivery),
		pace: cfg.Pace, stuck: 5 * time.Minute,
	}, nil
}

// run starts lanes and whatever find starts, and returns when ctx has ended (or find has returned and what it
// started is through) and everything in hand is settled.
func (e *engine) run(ctx context.Context, find func(context.Context, func(shard int, fetch func(context.Context)))) {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	unhook := context.AfterFunc(ctx, func() { time.AfterFunc(e.cfg.StopWithin, stop) })
	defer unhook()

	var lanes, fetchers, extender sync.WaitGroup
	extending, endExtending := context.WithCancel(context.Background())
	extender.Go(func() { e.held.extend(extending, e.pace.Extend) })
	for i := range e.cfg.Workers {
		lanes.Go(func() { e.lane(ctx, work, "lane "+strconv.Itoa(i)) })
	}
	find(ctx, func(shard int, fetch func(context.Context)) {
		e.shards.Add(1)
		fetchers.Go(func() { fetch(ctx) })
	})
	fetchers.Wait()
	close(e.batches)
	lanes.Wait()
	e.returnAll()
	endExtending()
	extender.Wait()
}

// awaitReady waits until ready says so.
func (e *engine) awaitReady(ctx context.Context, ready func(context.Context) error) {
	if ready == nil {
		return
	}
	for n := 0; ctx.Err() == nil; n++ {
		err := ready(ctx)
		if err == nil {
			if e.gate.open("ready") {
				e.logger.Info("going on")
			}
			return
		}
		if e.gate.close("ready", err) {
			e.logger.Warn("not consuming yet; trying until it is there", "reason", err)
		}
		wait.For(ctx, e.pace.Backoff(n))
	}
}

func (e *engine) health(now time.Time) error {
	if err := e.gate.err(); err != nil {
		return err
	}
	if e.nc.Status() != nats.CONNECTED {
		return errors.New("not connected to the log")
	}
	if err := e.trouble.err(); err != nil {
		return err
	}
	if e.shards.Load() == 0 {
		return errors.New("waiting for the log's streams (storer migrate creates them)")
	}
	if t := e.held.oldest(); !t.IsZero() && now.Sub(t) > e.stuck {
		return fmt.Errorf("a mail has been worked on for %s", now.Sub(t).Round(time.Second))
	}
	return nil
}
