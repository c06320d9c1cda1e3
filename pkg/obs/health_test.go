package obs

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNotReadyBeforeTheFirstCheck(t *testing.T) {
	h := NewHealth()
	if failures := h.Ready(t.Context()); len(failures) != 1 || failures[0].Error != "starting" {
		t.Errorf("got %v", failures)
	}
	h.Register("log", func(context.Context) error { return nil })
	if failures := h.Ready(t.Context()); len(failures) != 0 {
		t.Errorf("got %v", failures)
	}
}

func TestEveryFailureIsListed(t *testing.T) {
	h := NewHealth()
	h.Register("log", func(context.Context) error { return errors.New("away") })
	h.Register("cache", func(context.Context) error { return nil })
	h.Register("log", func(context.Context) error { return errors.New("full") })
	failures := h.Ready(t.Context())
	if len(failures) != 2 || failures[0] != (Failure{"log", "away"}) || failures[1] != (Failure{"log", "full"}) {
		t.Errorf("got %v", failures)
	}
}

// TestResultsAreCached: probes come from the load balancer, Kubernetes and people; the database sees one of them.
func TestResultsAreCached(t *testing.T) {
	h := NewHealth()
	h.fresh = time.Hour
	var asked atomic.Int32
	h.Register("database", func(context.Context) error { asked.Add(1); return nil })
	for range 10 {
		h.Ready(t.Context())
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times within the time a result is fresh, want 1", n)
	}
	h.fresh = 0
	h.Ready(t.Context())
	if n := asked.Load(); n != 2 {
		t.Errorf("a stale result was believed: asked %d times, want 2", n)
	}
}

// TestHangingCheckIsAFailure: neither the probe nor the other checks wait for it, and it is not started twice.
func TestHangingCheckIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where only waiting takes time
		h := NewHealth()
		h.timeout, h.fresh = 20*time.Millisecond, 0
		release := make(chan struct{})
		var started atomic.Int32
		h.Register("stuck", func(context.Context) error { started.Add(1); <-release; return nil })
		h.Register("fine", func(context.Context) error { return nil })
		for range 3 {
			failures := h.Ready(t.Context())
			if len(failures) != 1 || failures[0].Check != "stuck" || failures[0].Error != "no answer after 20ms" {
				t.Fatalf("got %v", failures)
			}
		}
		if n := started.Load(); n != 1 {
			t.Errorf("a hanging check was started %d times", n)
		}
		close(release)
		h.timeout = 10 * time.Second
		if failures := h.Ready(t.Context()); len(failures) != 0 {
			t.Errorf("it answers again, but %v", failures)
		}
	})
}

func TestCheckGetsADeadline(t *testing.T) {
	h := NewHealth()
	h.Register("log", func(ctx context.Context) error {
		if _, ok := ctx.Deadline(); !ok {
			return errors.New("no deadline")
		}
		return nil
	})
	if failures := h.Ready(t.Context()); len(failures) != 0 {
		t.Error(failures)
	}
}

// TestImpatientProbeDoesNotSpoilTheResult: the result belongs to everybody, not to the request that caused it.
func TestImpatientProbeDoesNotSpoilTheResult(t *testing.T) {
	h := NewHealth()
	h.Register("log", func(ctx context.Context) error { return ctx.Err() })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h.Ready(ctx)
	if failures := h.Ready(t.Context()); len(failures) != 0 {
		t.Error(failures)
	}
}

// A process that drains must say so with the next answer: what the load balancer hears late is taken from the time it
// has to look away.
func TestStateIsNotCached(t *testing.T) {
	h := NewHealth()
	var draining atomic.Bool
	h.RegisterState("serving", func() error {
		if draining.Load() {
			return errors.New("draining")
		}
		return nil
	})
	if failures := h.Ready(t.Context()); len(failures) != 0 {
		t.Fatalf("before: %v", failures)
	}
	draining.Store(true)
	if failures := h.Ready(t.Context()); len(failures) != 1 {
		t.Errorf("at once after: %v", failures)
	}
}
