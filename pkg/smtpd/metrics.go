package smtpd

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the driver's numbers. No label ever carries an address, a domain or a name a client chose.
type metrics struct {
	connections  *prometheus.CounterVec // result
	active       prometheus.Gauge
	commands     *prometheus.CounterVec // verb, code_class
	messages     *prometheus.CounterVec // result
	messageSize  prometheus.Histogram
	dataDuration prometheus.Histogram
	limits       *prometheus.CounterVec // limit
	timeouts     *prometheus.CounterVec // phase
	handshakes   *prometheus.CounterVec // result
	tlsVersions  *prometheus.CounterVec // version
	panics       prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		connections: counters("sluice_smtp_connections_total", "Connections by how they began: accepted, limited, early_talker (sent before the greeting), proxy_refused, health_check, tls_failed.", "result"),
		active:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "sluice_smtp_sessions_active", Help: "Client sessions open now."}),
		commands:    counters("sluice_smtp_commands_total", "Commands by verb and first digit of the reply.", "verb", "code_class"),
		messages:    counters("sluice_smtp_messages_total", "Mails by outcome: accepted, rejected (5xx), tempfail (4xx), aborted (the client left or sent RSET; nothing stored).", "result"),
		messageSize: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sluice_smtp_message_size_bytes", Help: "Size of accepted mails.",
			Buckets: prometheus.ExponentialBuckets(1024, 4, 9), // 1 KiB to 64 MiB
		}),
		dataDuration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sluice_smtp_data_duration_seconds", Help: "Time from asking for a mail's data to having received all of it.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 12), // 1 ms to 70 min
		}),
		limits:      counters("sluice_smtp_limits_total", "Connections refused, by the limit they hit.", "limit"),
		timeouts:    counters("sluice_smtp_timeouts_total", "Sessions closed by a timeout, by what they waited for: command, data, write, proxy, tls.", "phase"),
		handshakes:  counters("sluice_smtp_tls_handshakes_total", "TLS handshakes by result: ok, failed, busy.", "result"),
		tlsVersions: counters("sluice_smtp_tls_connections_total", "Encrypted connections by TLS version: TLS1.2, TLS1.3.", "version"),
		panics:      prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_smtp_panics_total", Help: "Sessions ended by a programming error."}),
	}
	for _, c := range []prometheus.Collector{
		m.connections, m.active, m.commands, m.messages, m.messageSize, m.dataDuration,
		m.limits, m.timeouts, m.handshakes, m.tlsVersions, m.panics,
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("registering SMTP metrics: %w", err)
		}
	}
	return m, nil
}

// message counts the fate of one mail.
func (m *metrics) message(r messageResult) { m.messages.WithLabelValues(string(r)).Inc() }
