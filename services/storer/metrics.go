package storer

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

// metrics are what the storer itself measures; the store, the worker and the janitor have their own.
type metrics struct {
	delay                      prometheus.Histogram
	unread, clockOff, unsynced prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{delay: prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:                        "sluice_pipeline_accept_to_store_seconds",
		Help:                        "Time from the end of a mail's data at the ingress to its commit in the database; without replays.",
		Buckets:                     []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 600},
		NativeHistogramBucketFactor: 1.1,
	}), unread: prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sluice_log_sync_unread",
		Help: "1 while the sync setting of the log's servers cannot be read (NATS_MONITOR_URL); the last value read stays in force.",
	})}
	m.clockOff = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sluice_storer_clock_off",
		Help: "1 while this machine's clock differs by more than a minute from the log's or the database's, or was not compared; nothing expires meanwhile.",
	})
	m.unsynced = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sluice_store_unsynced",
		Help: "1 while the database does not sync its commits (innodb_flush_log_at_trx_commit is not 1).",
	})
	reg.MustRegister(m.delay, m.unread, m.clockOff, m.unsynced)
	return m
}

// totals adds up results over concurrent batches: the summary of a replay.
type totals struct {
	mu  sync.Mutex
	sum mailstore.Result
}

func (t *totals) add(r mailstore.Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sum.New += r.New
	t.sum.Existing += r.Existing
	t.sum.Expired += r.Expired
}

func (t *totals) result() mailstore.Result {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sum
}
