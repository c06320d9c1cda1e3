package consume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/pace"
	"github.com/sluice-mail/sluice/pkg/stream/internal/record"
	"github.com/sluice-mail/sluice/pkg/stream/internal/settle"
	"github.com/sluice-mail/sluice/pkg/stream/internal/wait"
)

// engine has what a Worker and a Replay have in common:
//
//	fetch (a goroutine per shard) ─▶ Settler ─▶ jobs (Workers goroutines) ─▶ Handler ─▶ Settler ─▶ acknowledge, bury, again
//	        ▲ waits while the database is down       marks (a goroutine) ─▶ the log's bucket     held: extended until settled
type engine struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	cfg      Config
	handler  Handler
	logger   *slog.Logger
	metrics  *workerMetrics
	log      record.Source
	held     *held
	pace     pace.Pace
	before   func(ctx context.Context, mails int) error // replay: the rate
	selected func(*stream.Message) bool                 // replay: the filter; nil selects every mail
	count    counts
	shards   atomic.Int64 // shards that are consumed
	stuck    time.Duration
	instance string
	driver   *driver

	troubleMu sync.Mutex
	trouble   map[string]error // shards that cannot be fetched from
}

// counts is what became of the mails, for the summary of a replay.
type counts struct{ done, dead, skipped, bytes atomic.Uint64 }

func newEngine(nc *nats.Conn, cfg Config, handler Handler, logger *slog.Logger, metrics *workerMetrics) (*engine, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("preparing the client of the log: %w", err)
	}
	e := &engine{
		nc: nc, js: js, cfg: cfg, handler: handler, logger: logger.With("consumer", cfg.Consumer), metrics: metrics,
		log: record.Source{NC: nc}, held: newHeld(), pace: cfg.Pace, stuck: 5 * time.Minute, instance: nuid.Next(),
		trouble: make(map[string]error),
	}
	e.driver = newDriver(e, settle.Settings{
		Instance: e.instance, Workers: cfg.Workers, BatchMails: cfg.BatchMails, BatchBytes: cfg.BatchBytes, Linger: cfg.Pace.Linger,
		Grave: cfg.Grave != nil, Backoff: cfg.Pace.Backoff, Refresh: cfg.Pace.Refresh, Stale: cfg.Pace.Stale,
	})
	return e, nil
}

// run starts the goroutines of the engine and those that find starts. It returns when everything that was fetched is settled, after
// ctx has ended or all that find started has ended.
func (e *engine) run(ctx context.Context, find func(context.Context, func(shard int, fetch func(context.Context)))) {
	d := e.driver
	handling, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	lasting, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	unhook := context.AfterFunc(ctx, func() {
		time.AfterFunc(e.cfg.StopWithin, stop)
		d.tell(func(s *settle.Settler, now time.Time) { s.Stop(now) })
	})
	defer unhook()

	var workers, fetchers, others sync.WaitGroup
	others.Go(func() { e.held.extend(lasting, e.pace.Extend) })
	others.Go(func() { d.clock(lasting) })
	others.Go(func() { d.follow(lasting) })
	others.Go(func() { (&keeper{driver: d, running: ctx}).run(lasting) })
	for range e.cfg.Workers {
		workers.Go(func() { d.work(ctx, handling) })
	}
	find(ctx, func(shard int, fetch func(context.Context)) {
		e.shards.Add(1)
		fetchers.Go(func() { fetch(ctx) })
	})
	fetchers.Wait()
	d.tell(func(s *settle.Settler, now time.Time) { s.Stop(now) })
	_ = d.until(lasting, (*settle.Settler).Idle)
	close(d.jobs)
	workers.Wait()
	e.returnAll()
	end()
	others.Wait()
}

// returnAll returns messages that could not be settled to the log, for the next consumer. This must not happen earlier: while this
// process's own fetch is open, they would be delivered to it again.
func (e *engine) returnAll() {
	for _, m := range ask(e.driver, (*settle.Settler).Returned) {
		for _, taken := range m.Deliveries {
			d := taken.(*delivery)
			e.finish(d, d.msg.Nak)
		}
	}
}

// awaitReady waits until ready says so.
func (e *engine) awaitReady(ctx context.Context, ready func(context.Context) error) {
	if ready == nil {
		return
	}
	for n := 0; ctx.Err() == nil; n++ {
		err := ready(ctx)
		if err == nil {
			e.driver.tell(func(s *settle.Settler, _ time.Time) { s.Ready() })
			return
		}
		e.driver.tell(func(s *settle.Settler, _ time.Time) { s.NotReady(err) })
		wait.For(ctx, e.pace.Backoff(n))
	}
}

// note keeps why a shard cannot be fetched from, nil when it can.
func (e *engine) note(shard string, why error) {
	e.troubleMu.Lock()
	defer e.troubleMu.Unlock()
	delete(e.trouble, shard)
	if why != nil {
		e.trouble[shard] = why
	}
}

func (e *engine) health(now time.Time) error {
	if err := ask(e.driver, (*settle.Settler).Trouble); err != nil {
		return err
	}
	if e.nc.Status() != nats.CONNECTED {
		return errors.New("not connected to the log")
	}
	e.troubleMu.Lock()
	shards := slices.Collect(maps.Values(e.trouble))
	e.troubleMu.Unlock()
	if len(shards) > 0 {
		return errors.Join(shards...)
	}
	if e.shards.Load() == 0 {
		return errors.New("waiting for the log's streams (storer migrate creates them)")
	}
	if t := e.held.oldest(); !t.IsZero() && now.Sub(t) > e.stuck {
		return fmt.Errorf("a mail has been worked on for %s", now.Sub(t).Round(time.Second))
	}
	return nil
}
