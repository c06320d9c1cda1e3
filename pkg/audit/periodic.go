package audit

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/dead"
)

const (
	// periodicEvery is how often every storer audits; periodicSpan how far back, so that each mail is looked at
	// several times.
	periodicEvery = 3 * time.Minute
	periodicSpan  = 10 * time.Minute
)

// Periodic is the audit that runs beside the storer: of recent mail every few minutes, and of every range that is
// about to leave the log.
type Periodic struct {
	nc          *nats.Conn
	reader      *stream.Reader
	dead        *dead.Letters
	db          mailstore.Store
	retention   time.Duration
	logger      *slog.Logger
	unaccounted prometheus.Gauge
	audited     prometheus.Counter
}

// NewPeriodic makes the audit of a storer whose database keeps mail for retention (0: indefinitely).
func NewPeriodic(nc *nats.Conn, db mailstore.Store, retention time.Duration, logger *slog.Logger, reg prometheus.Registerer) *Periodic {
	p := &Periodic{
		nc:        nc,
		reader:    stream.NewReader(nc),
		dead:      dead.New(nc),
		db:        db,
		retention: retention,
		logger:    logger,
		unaccounted: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sluice_audit_unaccounted",
			Help: "Mails of the last audit that are neither stored, nor waiting, nor dead letters, or are stored wrong. Must be 0.",
		}),
		audited: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_audit_mails_total",
			Help: "Mails looked at by periodic audits and by those before a purge.",
		}),
	}
	reg.MustRegister(p.unaccounted, p.audited)
	return p
}

// Run audits until ctx ends.
func (p *Periodic) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(periodicEvery):
		}
		report, err := Run(ctx, p.reader, p.dead, p.db, Options{Since: time.Now().Add(-periodicSpan), Retention: p.retention})
		if err != nil {
			if ctx.Err() == nil {
				p.logger.Warn("auditing recent mail", "error", err)
			}
			continue
		}
		p.audited.Add(float64(report.Mails))
		if len(report.NotKnown) > 0 {
			p.logger.Warn("the audit of recent mail could not look at everything", "not_known", report.NotKnown)
			if report.Unaccounted() == 0 {
				continue // which does not mean that all is well again
			}
		}
		p.unaccounted.Set(float64(report.Unaccounted()))
		if report.Unaccounted() > 0 {
			p.logger.Error("mail is unaccounted for; run sluicectl audit", "missing", report.Missing, "wrong", report.Wrong,
				"first", report.Problems)
		}
	}
}
