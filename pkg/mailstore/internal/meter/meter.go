// Package meter has the metrics of a store.
package meter

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

// Meter has the metrics of a store.
type Meter struct {
	classify func(op string, err error) error
	duration *prometheus.HistogramVec
	messages *prometheus.CounterVec
	errors   *prometheus.CounterVec
}

// New registers the metrics. Two stores in one process share them. A nil reg registers nothing. classify wraps an error
// with what was being done and what to do about it.
func New(reg prometheus.Registerer, classify func(op string, err error) error) *Meter {
	return &Meter{
		classify: classify,
		duration: register(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sluice_store_duration_seconds",
			Help:    "Time an operation on the database took, including waiting and retries.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 18),
		}, []string{"op"})),
		messages: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_store_messages_total",
			Help: "Mails handed to the database: new, existing (stored before), expired (older than the retention).",
		}, []string{"result"})),
		errors: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_store_errors_total",
			Help: "Errors of the database, by class (what the storer does about them).",
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

// Done is the end of every operation: it records the one that began at start, and returns its error, classified.
func (m *Meter) Done(op string, start time.Time, err error) error {
	err = m.classify(op, err)
	m.duration.WithLabelValues(op).Observe(time.Since(start).Seconds())
	if err != nil && !errors.Is(err, mailstore.ErrNotFound) {
		m.errors.WithLabelValues(op, mailstore.Classify(err).String()).Inc()
	}
	return err
}

// Stored counts the mails of a batch.
func (m *Meter) Stored(r mailstore.Result) {
	m.messages.WithLabelValues("new").Add(float64(r.New))
	m.messages.WithLabelValues("existing").Add(float64(r.Existing))
	m.messages.WithLabelValues("expired").Add(float64(r.Expired))
}
