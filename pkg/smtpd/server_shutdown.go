package smtpd

import (
	"context"
	"fmt"
	"net"
	"time"
)

const (
	// watchEvery is how often the watchdog looks.
	watchEvery = time.Second
	// stuckFor is how much longer than Timeouts.Commit a sink may take before the connection of its client is closed.
	stuckFor = 30 * time.Second
	// closeFor is how long closed connections get to notice after Shutdown's context has ended.
	closeFor = 5 * time.Second
)

// track registers a listener; false when the server is shutting down.
func (s *Server) track(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return false
	}
	s.listeners[l] = struct{}{}
	s.wg.Add(1)
	if !s.watching {
		s.watching = true
		go s.watch()
	}
	return true
}

func (s *Server) untrack(l net.Listener) {
	s.mu.Lock()
	delete(s.listeners, l)
	s.mu.Unlock()
	_ = l.Close() // closed already when this is a shutdown
	s.wg.Done()
}

// Shutdown closes the listeners and tells idle clients 421 at once. Clients in the middle of a transaction may
// finish it until ctx ends; then every connection is closed, and the error of ctx returned. A mail that has no
// 250 by then stays with its sender.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining.Store(true)
	for l := range s.listeners {
		_ = l.Close()
	}
	for c := range s.conns {
		c.wake()
	}
	s.mu.Unlock()

	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	defer s.stop()
	defer func() { s.refused.Flush(time.Now(), true) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.stop() // commits give up
	left := s.closeAll()
	select {
	case <-done:
		return fmt.Errorf("closed %d SMTP sessions that had not finished: %w", left, ctx.Err())
	case <-time.After(closeFor):
		return fmt.Errorf("some of the %d closed SMTP sessions still wait for their sink: %w", left, ctx.Err())
	}
}

func (s *Server) closeAll() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.kill()
	}
	return len(s.conns)
}

// watch notices overload, and calls into a sink or a policy that do not come back. It ends with the base context.
func (s *Server) watch() {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-s.base.Done():
			return
		case <-ticker.C:
		}
		s.tick.Add(1)
		overloaded := s.limits.Overloaded()
		began := overloaded && !s.overloaded.Load()
		s.overloaded.Store(overloaded)
		s.inspect(began)
		s.refused.Flush(time.Now(), false)
	}
}

// inspect closes the connections of clients whose sink does not answer. They try again later: a mail without a reply is not
// accepted. When an overload begins, it also wakes all waiting connections, so that the shorter timeout applies to them.
func (s *Server) inspect(wake bool) {
	now := s.tick.Load()
	var stuck []time.Duration
	s.mu.Lock()
	for c := range s.conns {
		if began := c.busy.Load(); began != 0 && now-began > s.stuckAfter {
			stuck = append(stuck, time.Duration(now-began)*watchEvery)
			c.kill()
		}
		if wake {
			c.wake()
		}
	}
	s.mu.Unlock()
	// Not under the lock, which every new connection needs: writing the log may be slow.
	for _, waited := range stuck {
		s.logger.Error("a sink does not answer; closing the connection of its client", "waited", waited.String())
	}
}
