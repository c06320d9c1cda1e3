package cachewarmer

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/mailcache"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/consume"
)

// handler puts mails into the cache.
type handler struct {
	cache   *mailcache.Cache
	delay   prometheus.Histogram
	results map[mailcache.Outcome]*result
}

// result counts mails twice: for the metrics, and for the summary of a replay.
type result struct {
	metric prometheus.Counter
	count  atomic.Int64
}

func newHandler(cache *mailcache.Cache, reg prometheus.Registerer) *handler {
	warmed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_cache_warmed_total",
		Help: "Mails the cachewarmer handled: cached, large (too large for the cache), skipped (the cache did not take it).",
	}, []string{"result"})
	h := &handler{
		cache: cache,
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:                        "sluice_pipeline_accept_to_cache_seconds",
			Help:                        "Time from the end of a mail's data at the ingress to its item in the cache.",
			Buckets:                     []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 600},
			NativeHistogramBucketFactor: 1.1,
		}),
		results: map[mailcache.Outcome]*result{
			mailcache.Cached:   {metric: warmed.WithLabelValues("cached")},
			mailcache.TooLarge: {metric: warmed.WithLabelValues("large")},
			mailcache.Skipped:  {metric: warmed.WithLabelValues("skipped")},
		},
	}
	reg.MustRegister(warmed, h.delay)
	return h
}

// Handle tries to cache every mail of the batch. Nothing waits for a cache, so every verdict is done. A hostile mail that
// makes it panic does so in the goroutine of Handle, where the worker catches it.
func (h *handler) Handle(_ context.Context, batch []*stream.Message) []consume.Verdict {
	verdicts, mails := make([]consume.Verdict, len(batch)), make([]mailcache.Mail, len(batch))
	for i, m := range batch {
		// A large mail has no Raw: it is read from the database.
		verdicts[i], mails[i] = consume.Done(), mailcache.Mail{ID: m.ID, Envelope: m.EnvelopeBytes, Raw: m.Raw}
	}
	outcomes := h.cache.SetMessages(mails)
	now, sums := time.Now(), make(map[mailcache.Outcome]int64, len(h.results))
	for i, outcome := range outcomes {
		if sums[outcome]++; outcome == mailcache.Cached {
			h.delay.Observe(max(0, now.Sub(time.UnixMilli(batch[i].Envelope.GetReceivedAt())).Seconds()))
		}
	}
	for outcome, n := range sums {
		h.results[outcome].metric.Add(float64(n))
		h.results[outcome].count.Add(n)
	}
	return verdicts
}
