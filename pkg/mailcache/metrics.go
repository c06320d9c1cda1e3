package mailcache

import (
	"errors"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/prometheus/client_golang/prometheus"
)

// register makes the metrics. Two caches in one process share the counter; the state of breakers is the first one's.
func (c *Cache) register(reg prometheus.Registerer) *prometheus.CounterVec {
	ops := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_cache_ops_total",
		Help: "Operations on the cache by result: ok, miss, conflict (another process was first), error, open (not tried, see sluice_cache_breaker_open).",
	}, []string{"op", "result"})
	if reg == nil {
		return ops
	}
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](reg.Register(ops)); ok {
		return already.ExistingCollector.(*prometheus.CounterVec)
	}
	for _, s := range c.servers {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "sluice_cache_breaker_open",
			Help:        "1 while a cache server that did not answer gets no requests.",
			ConstLabels: prometheus.Labels{"server": s.name},
		}, func() float64 {
			if s.breaker.open() {
				return 1
			}
			return 0
		}))
	}
	return ops
}

func (c *Cache) count(op string, err error) { c.ops.WithLabelValues(op, result(err)).Inc() }

// result is how an operation ended, for the metrics.
func result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, memcache.ErrCacheMiss):
		return "miss"
	case errors.Is(err, memcache.ErrNotStored), errors.Is(err, memcache.ErrCASConflict):
		return "conflict"
	case errors.Is(err, errOpen):
		return "open"
	}
	return "error"
}
