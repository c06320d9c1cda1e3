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
			Name: "sluice_mailbox_waiting_readers", Help: "Readers that wait for new mail: event streams and long polls.",
		}),
		events: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_mailbox_events_total", Help: "New mails that readers were told of, one for each reader.",
		}),
		crowded: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_mailbox_crowded_total", Help: "Readers refused because too many wait already, in all, for that mailbox or from that client.",
		}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_mailbox_dropped_readers_total", Help: "Event streams ended because their reader did not keep up; it can resume.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.readers, m.events, m.crowded, m.dropped)
	}
	return m
}
