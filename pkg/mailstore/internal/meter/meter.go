// Package meter counts what a store does.
package meter

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

// Meter has the metrics of a store.
type Meter struct {
	duration *prometheus.HistogramVec
	messages *prometheus.CounterVec
	errors   *prometheus.CounterVec
}

// New registers the metrics. Two stores in one process share them. A nil reg registers nothing.
func New(reg prometheus.Registerer) *Meter {
	return &Meter{
		duration: register(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sluice_store_duration_seconds",
			Help:    "Time that an operation on the database took, waiting and trying again included.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 18),
		}, []string{"op"})),
		messages: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_store_messages_total",
			Help: "Mails handed to the database: new, existing (stored before), expired (older than the retention).",
		}, []string{"result"})),
		errors: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_store_errors_total",
			Help: "Errors of the database that were returned, by what to do about them.",
		}, []string{"op", "class"})),
	}
}

func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	err := reg.Register(c)
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		return already.ExistingCollector.(C)
	}
	if err != nil {
		panic(err) // two metrics of one name: a mistake in this program
	}
	return c
}

// Done records an operation that began at start.
func (m *Meter) Done(op string, start time.Time, err error) {
	m.duration.WithLabelValues(op).Observe(time.Since(start).Seconds())
	if err != nil && !errors.Is(err, mailstore.ErrNotFound) {
		m.errors.WithLabelValues(op, mailstore.Classify(err).String()).Inc()
	}
}

// Stored counts the mails of a batch.
func (m *Meter) Stored(r mailstore.Result) {
	m.messages.WithLabelValues("new").Add(float64(r.New))
	m.messages.WithLabelValues("existing").Add(float64(r.Existing))
	m.messages.WithLabelValues("expired").Add(float64(r.Expired))
}
