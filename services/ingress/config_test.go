package ingress

import (
	"testing"
	"time"

	"github.com/sluice-mail/sluice/pkg/env"
)

// What an operator sets reaches the server.
func TestLimitsReachTheServer(t *testing.T) {
	var cfg Config
	vars := map[string]string{
		"INGRESS_DOMAINS": "*", "INGRESS_IDLE_TIMEOUT": "30s", "INGRESS_MAX_ERRORS": "3", "INGRESS_MAX_JUNK": "4", "INGRESS_MAX_REFUSED_RCPTS": "5",
	}
	set := env.Set{Structs: []any{&cfg}, Lookup: func(name string) (string, bool) {
		value, ok := vars[name]
		return value, ok
	}}
	if err := set.Load(); err != nil {
		t.Fatal(err)
	}
	if s := cfg.server(false); s.Timeouts.Idle != 30*time.Second || s.MaxErrors != 3 || s.MaxJunk != 4 || s.MaxRefusedRcpts != 5 {
		t.Errorf("got %+v", s)
	}
}
