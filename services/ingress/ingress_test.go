package ingress

import (
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/env"
	"github.com/sluice-mail/sluice/pkg/obs"
)

// Whoever runs the service gives it the time its parts may take together: a limit of one process, a container's grace.
func TestStopTimeCoversAllParts(t *testing.T) {
	cfg := Config{DrainDelay: 10 * time.Second}
	if smtp, policy, publisher := cfg.DrainDelay+finishGrace+stopGrace, stopGrace, stopGrace; cfg.StopTime() < smtp+policy+publisher {
		t.Errorf("%v is less than what the parts may take", cfg.StopTime())
	}
	if composeGrace := 65 * time.Second; cfg.StopTime() > composeGrace {
		t.Errorf("%v is more than the stop_grace_period of docker-compose.yml", cfg.StopTime())
	}
}

// A load balancer that asks a moment after the stop hears that the ingress drains, however short the time since it asked.
func TestDrainingIsSeenAtOnce(t *testing.T) {
	health := obs.NewHealth()
	s, err := New(Config{Addr: env.Addrs{"127.0.0.1:0"}, Domains: env.List{"*"}}, Deps{Conn: new(nats.Conn), Logger: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Health: health})
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(s.plain)
	for _, serving := range []bool{false, true, false} {
		s.serving.Store(serving)
		if failures := health.Ready(t.Context()); (len(failures) == 0) != serving {
			t.Errorf("serving: %v, failures: %v", serving, failures)
		}
	}
}
