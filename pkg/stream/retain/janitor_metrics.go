package retain

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/stream"
)

// janitorMetrics say how far back a replay could go and how much of the room is unstored mail.
type janitorMetrics struct {
	window, floor, bytes, room, oldest *prometheus.GaugeVec
	purged                             prometheus.Counter
}

func newJanitorMetrics(reg prometheus.Registerer) (*janitorMetrics, error) {
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"shard"})
	}
	m := &janitorMetrics{
		window: gauge("sluice_log_window_seconds", "Age of the oldest mail in the log, which is how far back a replay can go."),
		floor:  gauge("sluice_log_floor", "Sequence up to which the storer has settled every mail; nothing above it is purged."),
		bytes:  gauge("sluice_log_bytes", "Bytes in the log."),
		room:   gauge("sluice_log_max_bytes", "Bytes the log has room for. When it is full, the ingress answers 452."),
		oldest: gauge("sluice_log_oldest_unstored_seconds", "Age of the oldest mail that is not stored yet; 0 when all mail is stored."),
		purged: prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_log_purged_bytes_total", Help: "Bytes of stored mail that retention removed from the log."}),
	}
	for _, c := range []prometheus.Collector{m.window, m.floor, m.bytes, m.room, m.oldest, m.purged} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("registering the metrics of retention: %w", err)
		}
	}
	return m, nil
}

func (j *Janitor) observe(ctx context.Context, s *shardState) {
	label, st := fmt.Sprint(s.shard()), s.info.State
	window := 0.0
	if st.Msgs > 0 {
		window = s.now.Sub(st.FirstTime).Seconds()
	}
	j.metrics.window.WithLabelValues(label).Set(window)
	j.metrics.floor.WithLabelValues(label).Set(float64(s.floor))
	j.metrics.bytes.WithLabelValues(label).Set(float64(st.Bytes))
	j.metrics.room.WithLabelValues(label).Set(float64(s.info.Config.MaxBytes))
	age := 0.0
	if st.LastSeq > s.floor {
		if first, err := j.log.Next(ctx, s.info.Config.Name, stream.HeadSubject(s.shard()), s.floor+1); err == nil {
			age = max(time.Since(first.Time).Seconds(), 0)
		}
	}
	j.metrics.oldest.WithLabelValues(label).Set(age)
}
