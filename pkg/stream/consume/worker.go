package consume

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/pace"
	"github.com/sluice-mail/sluice/pkg/stream/internal/settle"
)

// Handler does the work of a service on a batch of mails, all of one shard. It returns one Verdict per
// mail, in order, and only after the work is committed. It may be called concurrently, and again with mails that it was
// done with. A panic is caught: the batch is then handled one by one, and the mail at fault ends as a dead letter. So does
// a mail that ends the process, see internal/settle.
type Handler interface {
	Handle(ctx context.Context, batch []*stream.Message) []settle.Verdict
}

// HandlerFunc makes a Handler of a function.
type HandlerFunc func(ctx context.Context, batch []*stream.Message) []settle.Verdict

// Handle calls f.
func (f HandlerFunc) Handle(ctx context.Context, batch []*stream.Message) []settle.Verdict {
	return f(ctx, batch)
}

// Grave takes what a worker cannot handle; dead.Letters is one. It returns nil only when the mail is kept there. A mail
// without an envelope is one that could not be read.
type Grave interface {
	Bury(ctx context.Context, m *stream.Message, reason string) error
}

// Config says what a worker consumes and how much of it at once. Zero values mean the defaults.
type Config struct {
	// Consumer is the name of the durable consumer, the same on every shard: Storer, Cachewarmer or one of your own.
	// Replicas of a service share it.
	Consumer string
	// CreateConsumer creates the consumer on every shard that lacks it; it then delivers all that the log has.
	// Not for Storer and Cachewarmer, which Ensure creates.
	CreateConsumer bool
	// BatchMails is the largest number of mails in one call of the handler [128]. A message with more mails is handled in
	// several calls.
	BatchMails int
	// BatchBytes bounds the bytes in one call of the handler [8 MiB]. They are counted as in the log's messages: of a large mail
	// only the head counts.
	BatchBytes int
	// Workers is the number of concurrent calls of the handler, over all shards [4].
	Workers int
	// Grave takes mail that can never be handled, for example as dead letters. Without one such mail is counted and skipped.
	Grave Grave
	// Unverified hands mail to the handler without comparing its bytes with the SHA-256 of its envelope: for a handler whose
	// readers compare them.
	Unverified bool
	// Turn, when set, is shared by the workers of this process.
	Turn Turn
	// Ready, when set, must return nil before anything is fetched. Otherwise mail that was fetched while the database is down
	// would be delivered once more, and counted so, each time the process restarts.
	Ready func(ctx context.Context) error
	// StopWithin is how long handlers may still work after Run's context has ended [4 s].
	StopWithin time.Duration
	// Pace has all waiting times of the worker; tests shorten them.
	Pace pace.Pace
}

func defaultPace() pace.Pace {
	return pace.Pace{
		First: 200 * time.Millisecond, Most: 15 * time.Second, Linger: 10 * time.Millisecond, Extend: stream.AckWait / 3,
		Look: 250 * time.Millisecond, Rediscover: 10 * time.Second, Refresh: time.Second, Stale: 2 * time.Second,
	}
}

// minBatchBytes must hold the largest message, else a fetch bounded by bytes never gets it.
const minBatchBytes = 2 << 20

// consumerName has no dots: it is a part of the keys of marks.
var consumerName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func (c Config) withDefaults() Config {
	if c.BatchMails <= 0 {
		c.BatchMails = 128
	}
	if c.BatchBytes <= 0 {
		c.BatchBytes = 8 << 20
	}
	c.BatchBytes = max(c.BatchBytes, minBatchBytes)
	if c.Workers <= 0 {
		c.Workers = 4
	}
	if c.StopWithin <= 0 {
		c.StopWithin = 4 * time.Second
	}
	if c.Turn == nil {
		c.Turn = NewTurn()
	}
	if c.Pace == (pace.Pace{}) {
		c.Pace = defaultPace()
	}
	if c.Pace.Refresh <= 0 || c.Pace.Stale <= 0 {
		c.Pace.Refresh, c.Pace.Stale = defaultPace().Refresh, defaultPace().Stale
	}
	return c
}

// Worker consumes every shard of the log.
type Worker struct {
	engine *engine
	cfg    Config
}

// New makes a worker; nothing is consumed before Run runs.
func New(nc *nats.Conn, cfg Config, handler Handler, logger *slog.Logger, reg prometheus.Registerer) (*Worker, error) {
	if !consumerName.MatchString(cfg.Consumer) {
		return nil, fmt.Errorf("the name of a worker's consumer has letters, digits, - and _; not %q", cfg.Consumer)
	}
	cfg = cfg.withDefaults()
	metrics, err := newWorkerMetrics(reg, cfg.Consumer, sourceLive)
	if err != nil {
		return nil, err
	}
	e, err := newEngine(nc, cfg, handler, logger, metrics)
	if err != nil {
		return nil, err
	}
	e.metrics.watch(e)
	return &Worker{engine: e, cfg: cfg}, nil
}

// Run consumes until ctx ends, waiting for streams and consumers that are not there yet. Then it stops
// fetching, handles what it has fetched, acknowledges it and returns nil.
func (w *Worker) Run(ctx context.Context) error {
	w.engine.awaitReady(ctx, w.cfg.Ready)
	w.engine.run(ctx, func(ctx context.Context, started func(shard int, fetch func(context.Context))) {
		d := discovery{engine: w.engine, consumer: w.cfg.Consumer, known: make(map[int]bool)}
		d.run(ctx, started)
	})
	return nil
}

// Health is nil while the worker does its work, else it says in one sentence why it does not.
func (w *Worker) Health(context.Context) error {
	if err := w.engine.health(time.Now()); err != nil {
		return fmt.Errorf("consumer %s: %w", w.cfg.Consumer, err)
	}
	return nil
}
