package obs

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// maxAdminConns bounds the connections of one HTTP listener here. Probes and scrapes need a handful; a file descriptor
// that idle ones hold is one that a client of the service does not get.
const maxAdminConns = 64

// crowd keeps the connections of a server few: one too many takes the place of the one that has waited longest without
// a request, and is closed itself when all are at work.
type crowd struct {
	most int

	mu      sync.Mutex
	waiting map[net.Conn]time.Time
	working map[net.Conn]struct{}
}

func newCrowd(most int) *crowd {
	return &crowd{most: most, waiting: make(map[net.Conn]time.Time), working: make(map[net.Conn]struct{})}
}

// changed is http.Server.ConnState.
func (c *crowd) changed(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew, http.StateIdle:
		delete(c.working, conn)
		c.waiting[conn] = time.Now()
	case http.StateActive:
		delete(c.waiting, conn)
		c.working[conn] = struct{}{}
	case http.StateClosed, http.StateHijacked:
		delete(c.waiting, conn)
		delete(c.working, conn)
	}
	if len(c.waiting)+len(c.working) > c.most {
		c.sendAway()
	}
}

func (c *crowd) sendAway() {
	var longest net.Conn
	for conn, since := range c.waiting {
		if longest == nil || since.Before(c.waiting[longest]) {
			longest = conn
		}
	}
	if longest != nil {
		delete(c.waiting, longest)
		_ = longest.Close() // its server notices
	}
}
