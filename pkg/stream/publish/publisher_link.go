package publish

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// link follows the state of the connection: a goroutine that waits for an answer learns at once when none can come, and one
// that has something to send learns when it can.
type link struct {
	nc    *nats.Conn
	mu    sync.Mutex
	lost  chan struct{} // closed when the connection is lost, then replaced
	up    chan struct{} // closed while connected
	isUp  bool
	tell  map[int]func(up bool)
	next  int
	since time.Time // of the present state
}

func newLink(nc *nats.Conn) *link {
	l := &link{nc: nc, lost: make(chan struct{}), up: make(chan struct{}), since: time.Now(), tell: make(map[int]func(bool))}
	l.set(nc.IsConnected())
	return l
}

// follow runs until ctx ends.
func (l *link) follow(ctx context.Context) {
	changes := l.nc.StatusChanged()
	defer l.nc.RemoveStatusListener(changes)
	l.set(l.nc.IsConnected())
	for {
		select {
		case <-ctx.Done():
			return
		case status, ok := <-changes:
			if !ok { // the connection was closed for good
				l.set(false)
				return
			}
			l.set(status == nats.CONNECTED)
		}
	}
}

func (l *link) set(up bool) {
	l.mu.Lock()
	if up == l.isUp {
		l.mu.Unlock()
		return
	}
	l.isUp, l.since = up, time.Now()
	if up {
		close(l.up)
	} else {
		l.up = make(chan struct{})
		close(l.lost)
		l.lost = make(chan struct{})
	}
	tell := slices.Collect(maps.Values(l.tell))
	l.mu.Unlock()
	for _, fn := range tell {
		fn(up)
	}
}

// subscribe calls fn with the present state and with every change until the returned function is called.
func (l *link) subscribe(fn func(up bool)) (end func()) {
	l.mu.Lock()
	up, id := l.isUp, l.next
	l.next++
	l.tell[id] = fn
	l.mu.Unlock()
	fn(up)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.tell, id)
	}
}

// wait returns when there is a connection; false when ctx ended first.
func (l *link) wait(ctx context.Context) bool {
	l.mu.Lock()
	up := l.up
	l.mu.Unlock()
	select {
	case <-up:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

func (l *link) disconnected() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// downFor is how long the connection has been away, 0 when it is there.
func (l *link) downFor() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isUp {
		return 0
	}
	return time.Since(l.since)
}
