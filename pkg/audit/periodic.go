package audit

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/audit/internal/recall"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/dead"
	"github.com/sluice-mail/sluice/pkg/stream/tombstone"
)

const (
	// periodicEvery is how often newly settled mail is audited. leadsEvery is how often each storer checks whether it has the
	// lease, so that another storer takes over soon after one died.
	periodicEvery = 30 * time.Second
	leadsEvery    = 5 * time.Second
)

// Periodic is the audit that runs in the storer. It audits every mail once, soon after it is settled, and every range that is
// about to leave the log. It stores missing mail again.
type Periodic struct {
	nc        *nats.Conn
	reader    *stream.Reader
	sources   Sources
	retention time.Duration
	repair    func(ctx context.Context, places []Place) error
	logger    *slog.Logger
	open      []stream.Bounds // ranges some mail of which was unaccounted for
	memory    recall.Memory
	distrust  atomic.Bool

	unaccounted, lost prometheus.Gauge
	audited, repaired prometheus.Counter
}

// NewPeriodic makes the audit of a storer whose database keeps mail for retention (0: indefinitely). repair stores mails of
// the log again.
func NewPeriodic(nc *nats.Conn, db mailstore.Store, retention time.Duration, repair func(context.Context, []Place) error, logger *slog.Logger, reg prometheus.Registerer) *Periodic {
	reader := stream.NewReader(nc)
	p := &Periodic{
		nc:        nc,
		reader:    reader,
		sources:   Sources{Log: reader, Dead: dead.NewIndex(nc), DB: db, Stones: tombstone.New(nc)},
		retention: retention,
		repair:    repair,
		logger:    logger,
		unaccounted: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sluice_audit_unaccounted",
			Help: "Mails that the last audit found missing, stored wrong, or not listed in a mailbox. Must be 0.",
		}),
		lost: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sluice_audit_lost_messages",
			Help: "Messages that the log has lost, except those whose loss an operator accepted. Must be 0.",
		}),
		audited: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_audit_mails_total",
			Help: "Mails checked by periodic audits and by audits before a purge.",
		}),
		repaired: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_audit_repaired_total",
			Help: "Mails that were acknowledged but missing in the database, and were stored again from the log.",
		}),
	}
	p.memory.Begin(nil)
	reg.MustRegister(p.unaccounted, p.lost, p.audited, p.repaired)
	return p
}

func (p *Periodic) options() Options {
	o := Options{Retention: p.retention, Repair: p.repair}
	if p.distrust.Load() {
		o.Retention = 0
	}
	return o
}

// follower forgets what only the one that leads may know.
func (p *Periodic) follower() {
	p.open = nil
	p.memory.Lock()
	defer p.memory.Unlock()
	p.memory.Begin(nil)
}

// DistrustClock says whether this machine's clock is wrong: by it no mail counts as expired.
func (p *Periodic) DistrustClock(distrust bool) { p.distrust.Store(distrust) }

// saw counts what an audit looked at and repaired.
func (p *Periodic) saw(r Report) {
	p.audited.Add(float64(r.Mails))
	if r.Repaired > 0 {
		p.repaired.Add(float64(r.Repaired))
		p.logger.Error("mail was missing in the database and is stored again from the log; was the database replaced or restored?",
			"mails", r.Repaired, "first", r.first())
	}
}

// Run audits until ctx ends, in the one storer that leads.
func (p *Periodic) Run(ctx context.Context, leads func() bool) error {
	for next := time.Now().Add(periodicEvery); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(leadsEvery):
		}
		if !leads() {
			p.follower()
			continue
		}
		if time.Now().Before(next) {
			continue
		}
		next = time.Now().Add(periodicEvery)
		if err := p.Round(ctx); err != nil && ctx.Err() == nil {
			p.logger.Warn("auditing recent mail", "error", err)
		}
	}
}

// Round audits what was settled since the last one.
func (p *Periodic) Round(ctx context.Context) error {
	ledger, err := openLedger(ctx, p.nc)
	if err != nil {
		return err
	}
	seen := time.Now()
	states, err := p.reader.States(ctx)
	errs := []error{err}
	unaccounted := p.again(ctx, &errs)
	p.look(ctx, &errs)
	unaccounted += p.ahead(ctx, ledger, states, seen, &errs)
	err = errors.Join(errs...)
	if err == nil || unaccounted > 0 {
		p.unaccounted.Set(float64(unaccounted))
	}
	return err
}

// look tells of what whole streams have lost.
func (p *Periodic) look(ctx context.Context, errs *[]error) {
	gaps, _, err := LostStreams(ctx, p.nc)
	*errs = append(*errs, err)
	lost := uint64(0)
	for _, g := range gaps {
		lost += g.To - g.From + 1
		p.logger.Error("the log has lost messages; nothing of that shard is purged until the loss is accepted with sluicectl audit accept", "which", g)
	}
	p.lost.Set(float64(lost))
}

// again audits the ranges once more some mail of which was unaccounted for.
func (p *Periodic) again(ctx context.Context, errs *[]error) (unaccounted int64) {
	open := p.open
	p.open = nil
	for _, b := range open {
		n, err := p.stretch(ctx, b)
		if err != nil {
			*errs = append(*errs, err)
			p.open = append(p.open, b)
		}
		unaccounted += n
	}
	return unaccounted
}

// stretch audits a range of settled messages once more.
func (p *Periodic) stretch(ctx context.Context, b stream.Bounds) (unaccounted int64, err error) {
	report, err := RunRange(ctx, p.sources, stream.StreamName(b.Shard), b.From, b.To, p.options())
	if err != nil {
		return 0, err
	}
	return p.tell(report, b), nil
}

// tell tells what an audit of these ranges found.
func (p *Periodic) tell(report Report, ranges ...stream.Bounds) (unaccounted int64) {
	p.saw(report)
	if unaccounted = report.Unaccounted(); unaccounted > 0 {
		p.open = append(p.open, ranges...)
		p.logger.Error("mail is unaccounted for; run sluicectl audit", "missing", report.Missing, "wrong", report.Wrong, "unlisted", report.Unlisted, "first", report.first())
	}
	return unaccounted
}
