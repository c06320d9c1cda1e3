package storer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/audit"
	"github.com/sluice-mail/sluice/pkg/env"
	"github.com/sluice-mail/sluice/pkg/lifecycle"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/obs"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/consume"
	"github.com/sluice-mail/sluice/pkg/stream/dead"
	"github.com/sluice-mail/sluice/pkg/stream/retain"
	"github.com/sluice-mail/sluice/services/internal/await"
)

// Config is how the storer batches. How it stores is the database's configuration.
type Config struct {
	BatchRows  int          `envconfig:"STORER_BATCH_ROWS" default:"128" desc:"mails in one transaction at most"`
	BatchBytes env.Bytes    `envconfig:"STORER_BATCH_BYTES" default:"8MiB" desc:"bytes of mail in one transaction at most; a mail larger than 896KiB has its own transaction"`
	Shape      stream.Shape // of the log, which the storer creates and purges
}

// Deps are what the storer works with. They belong to the caller.
type Deps struct {
	Conn    *nats.Conn      // the log
	Store   mailstore.Store // the database
	Workers int             // concurrent transactions, each on its own database connection
	// Turn is shared with the other workers of the process, if there are any.
	Turn consume.Turn
	// Retention is that of the database: audits do not report older mail as missing. 0 keeps all.
	Retention time.Duration
	// Durability finds out whether the log syncs before it acknowledges; the storer notes it in the log for the ingresses.
	Durability func(context.Context) (stream.Durability, error)
	Logger     *slog.Logger
	Metrics    prometheus.Registerer // where the service registers its metrics
	Health     *obs.Health           // where the service registers its checks for /readyz
}

const (
	// finishGrace is the time to finish the current batch, which may be a transaction of many megabytes.
	finishGrace = 20 * time.Second
	stopGrace   = 5 * time.Second
)

// Service is the storer.
type Service struct {
	cfg     Config
	deps    Deps
	worker  *consume.Worker
	janitor *retain.Janitor
	auditor *audit.Periodic
	metrics *metrics

	// What checkVitals said last.
	clockOff bool
	unsynced float64
}

// New makes a storer; nothing happens before Run.
func New(cfg Config, deps Deps) (*Service, error) {
	metrics := newMetrics(deps.Metrics)
	h := newHandler(deps, metrics)
	worker, err := consume.New(deps.Conn, consume.Config{
		Consumer:   stream.Storer,
		BatchMails: cfg.BatchRows,
		BatchBytes: int(cfg.BatchBytes),
		Workers:    deps.Workers,
		Grave:      dead.New(deps.Conn),
		Turn:       deps.Turn,
		Ready:      deps.Store.Ping,
	}, h, deps.Logger, deps.Metrics)
	if err != nil {
		return nil, fmt.Errorf("making the worker: %w", err)
	}
	again := &repairer{reader: stream.NewReader(deps.Conn), store: deps.Store, stored: h.stored}
	auditor := audit.NewPeriodic(deps.Conn, deps.Store, deps.Retention, again.repair, deps.Logger, deps.Metrics)
	janitor, err := retain.New(deps.Conn, retain.Config{
		Shape:       cfg.Shape,
		BeforePurge: auditor.BeforePurge,
	}, deps.Logger, deps.Metrics)
	if err != nil {
		return nil, fmt.Errorf("making the janitor: %w", err)
	}
	deps.Health.Register("database", deps.Store.Ping)
	deps.Health.Register("worker", worker.Health)
	return &Service{cfg: cfg, deps: deps, worker: worker, janitor: janitor, auditor: auditor, metrics: metrics}, nil
}

// newHandler makes the handler of new mail, which announces what it stores.
func newHandler(deps Deps, metrics *metrics) *handler {
	return &handler{
		store:  deps.Store,
		logger: deps.Logger,
		delay:  metrics.delay,
		stored: func(shard int, mails []stream.StoredMail) {
			// Best effort: if this is lost, the mailbox's list is up to date again when its page in the cache expires.
			if err := stream.PublishStored(deps.Conn, shard, mails); err != nil {
				deps.Logger.Debug("announcing stored mail", "error", err)
			}
		},
		totals: new(totals),
	}
}

// Run prepares the log and the database, and then stores mail until ctx ends. Before it returns it finishes the current
// batch.
func (s *Service) Run(ctx context.Context) error {
	if err := Prepare(ctx, s.cfg.Shape, s.deps); err != nil {
		return ignoreCanceled(ctx, err)
	}
	// Before the first mail is judged by its age.
	if err := s.checkVitals(ctx); err != nil && ctx.Err() == nil {
		s.deps.Logger.Warn("reading the state of the log and the database", "error", err)
	}
	var group lifecycle.Group
	group.Add("worker", finishGrace, s.worker.Run)
	group.Add("janitor", stopGrace, s.janitor.Run)
	group.Add("auditor", stopGrace, func(ctx context.Context) error { return s.auditor.Run(ctx, s.janitor.Leads) })
	group.Add("vitals", stopGrace, s.watchVitals)
	group.Add("durability", stopGrace, s.watchDurability)
	group.Add("maintenance", stopGrace, s.maintain)
	return group.Run(ctx)
}

// Prepare creates or updates the streams and tables that this version needs, for `storer migrate` and at the start of every
// storer. It waits until log and database answer.
func Prepare(ctx context.Context, shape stream.Shape, deps Deps) error {
	err := await.Until(ctx, deps.Logger, "the log to be ready", func(ctx context.Context) error {
		durability, err := deps.Durability(ctx)
		if err != nil {
			deps.Logger.Warn("cannot read whether the log syncs before it acknowledges; the last known setting stays in force", "reason", err)
		}
		return stream.Ensure(ctx, deps.Conn, shape, durability, deps.Logger)
	})
	if err != nil {
		return err
	}
	return await.Until(ctx, deps.Logger, "the database to be ready", deps.Store.Migrate)
}

const maintainEvery = time.Hour

// maintain creates the database's partitions for the coming days and drops those past the retention.
func (s *Service) maintain(ctx context.Context) error {
	for {
		if err := s.deps.Store.Maintain(ctx); err != nil && ctx.Err() == nil {
			s.deps.Logger.Error("looking after the database's partitions; trying again in an hour", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(maintainEvery):
		}
	}
}

// ignoreCanceled drops an error that only says that ctx has ended, because the storer was told to stop.
func ignoreCanceled(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
