package publish

import (
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/stream"
)

type publisherMetrics struct {
	duration      *prometheus.HistogramVec
	stored        prometheus.Observer // of duration
	inflight      prometheus.Gauge
	inflightBytes prometheus.Gauge
	packMails     prometheus.Histogram
	answers       *prometheus.CounterVec
	up            *prometheus.GaugeVec
	durability    *prometheus.GaugeVec
	shorter       *prometheus.GaugeVec
}

func newPublisherMetrics(reg prometheus.Registerer) *publisherMetrics {
	m := &publisherMetrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sluice_publish_duration_seconds",
			Help:    "Time from the end of a mail to the log's answer, by result.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"result"}),
		inflight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sluice_publish_inflight", Help: "Mails waiting for the log's answer.",
		}),
		inflightBytes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sluice_publish_inflight_bytes", Help: "Bytes of small mails waiting for the log's answer.",
		}),
		packMails: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sluice_publish_pack_mails", Help: "Mails in one message of the log.",
			Buckets: []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 500},
		}),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_publish_answers_total", Help: "Answers of the log to packs and large mails: stored, duplicate, an API error code, or why there was none.",
		}, []string{"code"}),
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_publish_shard_up", Help: "1 when this shard of the log takes mail.",
		}, []string{"shard"}),
		durability: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_publish_shard_durability", Help: "Always 1; the label durability says whether this shard syncs before it acknowledges.",
		}, []string{"shard", "durability"}),
		shorter: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_publish_shard_shorter", Help: "1 when this shard has lost acknowledged messages, or its stream was created again.",
		}, []string{"shard"}),
	}
	m.stored = m.duration.WithLabelValues("stored")
	reg.MustRegister(m.duration, m.inflight, m.inflightBytes, m.packMails, m.answers, m.up, m.durability, m.shorter)
	return m
}

// published counts how long a mail took and how it ended.
func (m *publisherMetrics) published(err error, took time.Duration) {
	if err == nil {
		m.stored.Observe(took.Seconds())
		return
	}
	m.duration.WithLabelValues(resultLabel(err)).Observe(took.Seconds())
}

func resultLabel(err error) string {
	switch {
	case errors.Is(err, ErrFull):
		return "full"
	case errors.Is(err, ErrBusy):
		return "busy"
	case errors.Is(err, ErrUnconfirmed):
		return "unconfirmed"
	case errors.Is(err, ErrUnavailable):
		return "unavailable"
	case errors.Is(err, ErrUnsynced):
		return "unsynced"
	case errors.Is(err, ErrClock):
		return "clock"
	case errors.Is(err, ErrRefused):
		return "refused"
	}
	return "error"
}

func (m *publisherMetrics) shard(number int, up bool, d stream.Durability) {
	label := strconv.Itoa(number)
	value := 0.0
	if up {
		value = 1
	}
	m.up.WithLabelValues(label).Set(value)
	m.durability.DeletePartialMatch(prometheus.Labels{"shard": label})
	m.durability.WithLabelValues(label, string(d)).Set(1)
}
