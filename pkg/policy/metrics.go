package policy

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/policy/lists"
)

// Collector returns the policy's metrics, to be registered.
func (p *Policy) Collector() prometheus.Collector {
	return &collector{
		policy:     p,
		domains:    prometheus.NewDesc("sluice_policy_domains", "Accepted domains and domain patterns, by their source.", []string{"source"}, nil),
		recipients: prometheus.NewDesc("sluice_policy_recipients", "Recipients in the policy bucket, as last read.", nil, nil),
		doubts:     prometheus.NewDesc("sluice_policy_empty_ignored_total", "Times the policy bucket was empty although nobody had removed the last domain or recipient; the known ones stayed in force.", nil, nil),
		entries:    prometheus.NewDesc("sluice_policy_list_entries", "Entries in the deny and allow lists, as last read.", []string{"list", "kind"}, nil),
		loaded:     prometheus.NewDesc("sluice_policy_loaded", "1 once the policy bucket has been read.", nil, nil),
	}
}

// collector counts when it is asked: the sets are immutable, so a gauge could only be late.
type collector struct {
	policy                                       *Policy
	domains, recipients, loaded, doubts, entries *prometheus.Desc
}

func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	descs <- c.domains
	descs <- c.recipients
	descs <- c.entries
	descs <- c.loaded
	descs <- c.doubts
}

func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	live, loaded := c.policy.live.Load(), 1.0
	if live == nil {
		live, loaded = &liveSet{}, 0
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	gauge(c.domains, float64(c.policy.static.len()), "config")
	gauge(c.domains, float64(live.domains.len()), "bucket")
	gauge(c.recipients, float64(live.recipients.Len()))
	for _, kind := range lists.Kinds() {
		gauge(c.entries, float64(live.lists.Count(false, kind)), denyKeys, string(kind))
		gauge(c.entries, float64(live.lists.Count(true, kind)), allowKeys, string(kind))
	}
	gauge(c.loaded, loaded)
	metrics <- prometheus.MustNewConstMetric(c.doubts, prometheus.CounterValue, float64(c.policy.doubts.Load()))
}
