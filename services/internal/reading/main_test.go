package reading_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/sluice-mail/sluice/pkg/mailcache"
	"github.com/sluice-mail/sluice/pkg/mailcache/memcachedtest"
	"github.com/sluice-mail/sluice/services/internal/reading"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ann, ben = "ann@example.com", "ben@example.com"

// newCache is a client of a memcached of this test's own.
func newCache(t *testing.T) (*mailcache.Cache, *memcachedtest.Server) {
	t.Helper()
	server := memcachedtest.Start(t)
	return clientOf(t, server), server
}

func clientOf(t *testing.T, server *memcachedtest.Server) *mailcache.Cache {
	t.Helper()
	// Patient, because on a busy machine a cache that is only slow would count as one that cannot be reached.
	cache := mailcache.New(mailcache.Config{Addrs: []string{server.Addr}, Timeout: 2 * time.Second}, nil, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	t.Cleanup(cache.Close)
	return cache
}

// newReader reads a store through a cache, which may be nil.
func newReader(t *testing.T, store reading.Store, cache *mailcache.Cache) *reading.Reader {
	t.Helper()
	r, err := reading.New(reading.Deps{Store: store, Cache: cache, AnswerBytes: 1 << 20, Logger: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}
