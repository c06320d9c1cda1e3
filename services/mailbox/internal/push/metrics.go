package push

import "github.com/prometheus/client_golang/prometheus"

type hubMetrics struct {
	readers prometheus.Gauge
	events  prometheus.Counter
	crowded prometheus.Counter
	dropped prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *hubMetrics {
	m := &hubMetrics{
		readers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sluice_mailbox_waiting_readers", Help: "Readers waiting for new mail: event streams and long polls.",
		}),
		events: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_mailbox_events_total", Help: "New mails announced to readers, counted once for each reader.",
		}),
		crowded: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_mailbox_crowded_total", Help: "Readers refused because too many were waiting: in all, for one mailbox or from one client.",
		}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_mailbox_dropped_readers_total", Help: "Event streams ended because their reader was too slow; it can resume.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.readers, m.events, m.crowded, m.dropped)
	}
	return m
}
