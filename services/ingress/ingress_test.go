package ingress

import (
	"testing"
	"time"
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
