package consume

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/stream/internal/settle"
)

const (
	sourceLive   = "live"
	sourceReplay = "replay"
)

// workerMetrics carry the labels consumer and source, so that a replay does not bend the figures of live mail.
type workerMetrics struct {
	reg          prometheus.Registerer
	collectors   []prometheus.Collector
	batchSize    prometheus.Histogram
	handle       prometheus.Histogram
	age          prometheus.Histogram
	redeliveries prometheus.Counter
	dead         prometheus.Counter
	faults       prometheus.Counter
	lag          *prometheus.GaugeVec
	unacked      *prometheus.GaugeVec
}

func newWorkerMetrics(reg prometheus.Registerer, consumer, source string) (*workerMetrics, error) {
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	labels := prometheus.Labels{"consumer": consumer, "source": source}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels})
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, ConstLabels: labels, Buckets: buckets})
	}
	perShard := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, []string{"shard"})
	}
	m := &workerMetrics{
		reg:          reg,
		batchSize:    histogram("sluice_consume_batch_size", "Mails per call of the handler.", prometheus.ExponentialBuckets(1, 2, 11)),
		handle:       histogram("sluice_consume_handle_seconds", "Time one call of the handler took.", prometheus.ExponentialBuckets(0.001, 2, 16)),
		age:          histogram("sluice_consume_age_seconds", "Time from the log taking a mail until the handler has finished it.", prometheus.ExponentialBuckets(0.001, 2.5, 16)),
		redeliveries: counter("sluice_consume_redeliveries_total", "Mails that were delivered again."),
		dead:         counter("sluice_consume_dead_total", "Mails that could not be handled: they became dead letters, or were skipped by a consumer without dead letters."),
		faults:       counter("sluice_consume_faults_total", "Calls of the handler with a single mail that panicked or returned no verdict."),
		lag:          perShard("sluice_consume_lag", "Messages in the log that are not settled yet; each has one mail or several."),
		unacked:      perShard("sluice_consume_oldest_unacked_seconds", "Age of the oldest mail in the log that is not settled yet."),
	}
	m.collectors = []prometheus.Collector{m.batchSize, m.handle, m.age, m.redeliveries, m.dead, m.faults, m.lag, m.unacked}
	for _, c := range m.collectors {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("registering the metrics of consumer %s: %w", consumer, err)
		}
	}
	return m, nil
}

// watch adds the gauge that says whether the engine waits.
func (m *workerMetrics) watch(e *engine) {
	paused := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sluice_consume_paused", Help: "1 while the worker waits for the log, the database or another dependency.",
		ConstLabels: prometheus.Labels{"consumer": e.cfg.Consumer, "source": sourceLive},
	}, func() float64 {
		if ask(e.driver, (*settle.Settler).Trouble) != nil {
			return 1
		}
		return 0
	})
	if m.reg.Register(paused) == nil {
		m.collectors = append(m.collectors, paused)
	}
}

// unregister makes room for the next replay.
func (m *workerMetrics) unregister() {
	for _, c := range m.collectors {
		m.reg.Unregister(c)
	}
}
