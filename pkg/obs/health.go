package obs

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// healthFresh is how long a check's result is reused, so that probes do not become a load on the database.
	healthFresh = 2 * time.Second
	// healthTimeout bounds one check; it is below the timeout of every probe.
	healthTimeout = time.Second
)

// Health is the set of checks behind /readyz. Without any check a process is not ready, because its service has not started
// yet. The zero value is not usable; see NewHealth.
type Health struct {
	fresh, timeout time.Duration

	mu     sync.Mutex
	checks []*check
}

// Failure is one check that failed.
type Failure struct {
	Check string `json:"check"` // its name
	Error string `json:"error"` // why it failed
}

// NewHealth returns a Health without checks.
func NewHealth() *Health { return &Health{fresh: healthFresh, timeout: healthTimeout} }

// RegisterState adds a check that is called for every request, without reusing results. It is for a state that is cheap to find out
// and must be known at once, such as that the process drains: each second of delay would leave the load balancer less time to
// remove it.
func (h *Health) RegisterState(name string, ok func() error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, &check{name: name, always: true, ok: func(context.Context) error { return ok() }})
}

// Register adds a check. ok returns nil when the service can do its work as far as this check knows, and is called
// from any goroutine, at most once at a time. Names need not be unique: services that share a process may both check
// the log.
func (h *Health) Register(name string, ok func(ctx context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, &check{name: name, ok: ok})
}

// Ready runs the checks whose results are stale, all at once, and returns those that fail.
func (h *Health) Ready(ctx context.Context) []Failure {
	h.mu.Lock()
	checks := h.checks
	h.mu.Unlock()
	if len(checks) == 0 {
		return []Failure{{Check: "start", Error: "starting"}}
	}
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	waits := make([]<-chan struct{}, len(checks))
	for i, c := range checks {
		waits[i] = c.start(h.fresh, h.timeout)
	}
	var failures []Failure
	for i, c := range checks {
		if err := c.result(ctx, waits[i], h.timeout); err != nil {
			failures = append(failures, Failure{Check: c.name, Error: err.Error()})
		}
	}
	return failures
}

// check is one registered check and its last result.
type check struct {
	name   string
	ok     func(context.Context) error
	always bool // cheap: never believed, always asked

	mu      sync.Mutex
	running chan struct{} // closed when the run under way ends; nil when none is
	at      time.Time
	err     error
}

// start makes sure that a run is under way when the last result is stale, and returns what to wait for. A check that
// hangs is not started a second time. The run does not end with the request that caused it: the next one profits.
func (c *check) start(fresh, timeout time.Duration) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running != nil {
		return c.running
	}
	done := make(chan struct{})
	if c.always {
		c.err = c.ok(context.Background())
		close(done)
		return done
	}
	if !c.at.IsZero() && time.Since(c.at) < fresh {
		close(done)
		return done
	}
	c.running = done
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		err := c.ok(ctx)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.err, c.at, c.running = err, time.Now(), nil
		close(done)
	}()
	return done
}

// result waits for a run until ctx ends.
func (c *check) result(ctx context.Context, done <-chan struct{}, timeout time.Duration) error {
	select {
	case <-done:
	case <-ctx.Done():
		select {
		case <-done: // both: while another check was waited for
		default:
			return fmt.Errorf("no answer after %s", timeout)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
