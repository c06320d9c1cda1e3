package consume

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
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
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_consume_" + name, Help: help, ConstLabels: labels})
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sluice_consume_" + name, Help: help, ConstLabels: labels, Buckets: buckets})
	}
	perShard := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sluice_consume_" + name, Help: help, ConstLabels: labels}, []string{"shard"})
	}
	m := &workerMetrics{
		reg:          reg,
		batchSize:    histogram("batch_size", "Mails per batch given to the handler.", prometheus.ExponentialBuckets(1, 2, 11)),
		handle:       histogram("handle_seconds", "Time one call of the handler took.", prometheus.ExponentialBuckets(0.001, 2, 16)),
		age:          histogram("age_seconds", "Time from the log taking a mail to its acknowledgement.", prometheus.ExponentialBuckets(0.001, 2.5, 16)),
		redeliveries: counter("redeliveries_total", "Mails that were delivered more than once."),
		dead:         counter("dead_total", "Mails that could not be handled: dead letters, or skipped where there are none."),
		faults:       counter("faults_total", "Mails that made the handler panic or fail without a verdict."),
		lag:          perShard("lag", "Mails in the log that are not settled yet."),
		unacked:      perShard("oldest_unacked_seconds", "Age of the oldest mail in the log that is not settled yet."),
	}
	m.collectors = []prometheus.Collector{m.batchSize, m.handle, m.age, m.redeliveries, m.dead, m.faults, m.lag, m.unacked}
	for _, c := range m.collectors {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("registering the metrics of consumer %s: %w", consumer, err)
		}
	}
	return m, nil
}

// watch adds the gauge that follows the engine's gate.
func (m *workerMetrics) watch(e *engine) {
	paused := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sluice_consume_paused", Help: "1 while the worker waits for something that is away.",
		ConstLabels: prometheus.Labels{"consumer": e.cfg.Consumer, "source": sourceLive},
	}, func() float64 {
		if e.gate.err() != nil {
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

func (m *workerMetrics) settled(d *delivery) {
	m.age.Observe(time.Since(d.record.Time).Seconds())
}
