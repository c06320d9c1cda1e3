package mailcache

import (
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

const (
	// groupBytes is when the requests that were kept for a server are sent: an exchange must stay short next to the timeout.
	groupBytes = 256 << 10
	// keptRoom is the largest buffer that is kept for the next requests.
	keptRoom = 512 << 10
	// idleSenders are kept for the next callers, each with a connection to each server.
	idleSenders = 8
)

// sender sends one caller's requests to set or delete something, many at a time.
type sender struct {
	cache *Cache
	lines []*line                // one for each server
	room  []byte                 // to pack in
	op    string                 // for the metrics
	done  func(i int, err error) // is told what became of each request
}

// sender returns one that nobody else uses; it is to be released.
func (c *Cache) sender(op string, done func(i int, err error)) *sender {
	s := c.idleSender()
	if s == nil {
		s = &sender{cache: c}
		for _, server := range c.servers {
			s.lines = append(s.lines, newLine(server, c.dial))
		}
	}
	s.op, s.done = op, done
	return s
}

func (c *Cache) idleSender() *sender {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.idle) - 1
	if n < 0 {
		return nil
	}
	s := c.idle[n]
	c.idle = c.idle[:n]
	return s
}

// release gives a sender back. What it was asked and has not sent is forgotten: its caller panicked.
func (s *sender) release() {
	for _, l := range s.lines {
		l.forget()
	}
	if cap(s.room) > keptRoom {
		s.room = nil
	}
	s.done = nil
	c := s.cache
	c.mu.Lock()
	keep := c.closing.Err() == nil && len(c.idle) < idleSenders
	if keep {
		c.idle = append(c.idle, s)
	}
	c.mu.Unlock()
	if !keep {
		s.hangUp()
	}
}

func (s *sender) hangUp() {
	for _, l := range s.lines {
		l.hangUp()
	}
}

// ask has gomemcache make a request, the caller's i-th, which is answered by good when all is well.
func (s *sender) ask(i int, key, good string, request func(*memcache.Client) error) {
	server := s.cache.servers.pick(key)
	if server == nil {
		s.fail(i, memcache.ErrNoServers)
		return
	}
	l := s.lines[server.index]
	l.assumed = good
	if err := request(l.client); err != nil { // a key that no server takes
		s.fail(i, err)
		return
	}
	l.asked = append(l.asked, i)
	if len(l.requests) >= groupBytes || !s.cache.grouped {
		s.exchange(l)
	}
}

// fail tells what is not sent at all.
func (s *sender) fail(i int, err error) {
	s.cache.count(s.op, err)
	s.done(i, err)
}

// flush sends what is left.
func (s *sender) flush() {
	for _, l := range s.lines {
		if len(l.asked) > 0 {
			s.exchange(l)
		}
	}
}

// exchange sends the requests for one server, unless that is known not to answer.
func (s *sender) exchange(l *line) {
	sums := make(map[string]int)
	tell := func(i int, err error) {
		sums[result(err)]++
		s.done(i, err)
	}
	reached := s.cache.reach(l.server, func() (err error) {
		for n, answer := range l.exchange(time.Now().Add(s.cache.timeout)) {
			l.server.breaker.done(answered(answer))
			tell(l.asked[n], answer)
			err = answer
		}
		return err
	})
	if !reached {
		for _, i := range l.asked {
			tell(i, errOpen)
		}
	}
	for result, n := range sums {
		s.cache.ops.WithLabelValues(s.op, result).Add(float64(n))
	}
	l.forget()
}
