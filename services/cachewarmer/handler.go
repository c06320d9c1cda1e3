package cachewarmer

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/mailcache"
	"github.com/sluice-mail/sluice/pkg/mailparse"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/consume"
)

// setters is how many items are written at once: each write waits for its answer.
const setters = 8

// handler puts mails into the cache.
type handler struct {
	cache  *mailcache.Cache
	packer *mailstore.Packer
	warmed *prometheus.CounterVec
	delay  prometheus.Histogram
	// The same counts as in warmed, for the summary of a replay.
	cached, summaries, skipped atomic.Int64
}

func newHandler(cache *mailcache.Cache, reg prometheus.Registerer) (*handler, error) {
	packer, err := mailstore.NewPacker(mailstore.CodecZstd)
	if err != nil {
		return nil, fmt.Errorf("preparing compression: %w", err)
	}
	h := &handler{
		cache:  cache,
		packer: packer,
		warmed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_cache_warmed_total",
			Help: "Mails the cachewarmer handled: cached, summary (too large, cached without its bytes) or skipped (the cache did not take it).",
		}, []string{"result"}),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:                        "sluice_pipeline_accept_to_cache_seconds",
			Help:                        "Time from the end of a mail's data at the ingress to its item in the cache.",
			Buckets:                     []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 600},
			NativeHistogramBucketFactor: 1.1,
		}),
	}
	reg.MustRegister(h.warmed, h.delay)
	return h, nil
}

// Handle tries to cache every mail of the batch. Nothing waits for a cache, so every verdict is done.
func (h *handler) Handle(ctx context.Context, batch []*stream.Message) []consume.Verdict {
	verdicts := make([]consume.Verdict, len(batch))
	slots := make(chan struct{}, setters)
	var running sync.WaitGroup
	for i, m := range batch {
		verdicts[i] = consume.Done()
		item := h.item(m)
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			h.set(m, item)
		})
	}
	running.Wait()
	return verdicts
}

// item parses and packs in the goroutine of Handle: if a hostile mail makes it panic, the worker catches that.
func (h *handler) item(m *stream.Message) mailcache.Item {
	item := mailcache.Item{Envelope: m.EnvelopeBytes}
	if m.Raw == nil {
		return item // a large mail is read from the database
	}
	if !m.Alone {
		item.Derived = mailstore.DerivedOf(mailparse.Summarise(m.Raw))
	}
	if body, codec := h.packer.Pack(m.Raw); len(body) <= mailcache.MaxBody {
		item.HasBody, item.Codec, item.Body = true, codec, body
	}
	return item
}

func (h *handler) set(m *stream.Message, item mailcache.Item) {
	switch {
	case !h.cache.SetMessage(m.ID, item):
		h.warmed.WithLabelValues("skipped").Inc()
		h.skipped.Add(1)
		return
	case item.HasBody:
		h.warmed.WithLabelValues("cached").Inc()
		h.cached.Add(1)
	default:
		h.warmed.WithLabelValues("summary").Inc()
		h.summaries.Add(1)
	}
	h.delay.Observe(max(0, time.Since(time.UnixMilli(m.Envelope.GetReceivedAt())).Seconds()))
}
