package mailcache

import (
	"sync"
	"time"
)

const (
	tolerance = 5               // failures in a row until a server is left alone
	openFor   = 1 * time.Second // how long it is left alone, until one operation tries it again
)

// breaker keeps a dead server from costing every operation its timeout.
type breaker struct {
	mu       sync.Mutex
	failures int
	until    time.Time // while open
	probing  bool      // one operation is trying whether the server is back
	now      func() time.Time
}

// allow says whether an operation may go to the server. If so, done must follow.
func (b *breaker) allow() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < tolerance {
		return true
	}
	if b.probing || b.now().Before(b.until) {
		return false
	}
	b.probing = true
	return true
}

// done records the outcome of an operation.
func (b *breaker) done(ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	if ok {
		b.failures = 0
		return
	}
	if b.failures++; b.failures >= tolerance {
		b.until = b.now().Add(openFor)
	}
}

// open says whether the server is left alone.
func (b *breaker) open() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failures >= tolerance
}
