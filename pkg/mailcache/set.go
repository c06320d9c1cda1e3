package mailcache

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

// Outcome is what became of a mail that was to be cached.
type Outcome int

const (
	// Skipped: the cache did not take it.
	Skipped Outcome = iota
	// TooLarge: not to be cached, because it is in parts or has more than MaxBody packed bytes.
	TooLarge
	// Cached: the cache has it.
	Cached
)

const (
	// writers is how many goroutines help the callers: the more requests are under way at once, the more of them share
	// the system calls of a line.
	writers = 24
	// A call packs this many bytes of mail, or one mail, before it sends them.
	packBytes = 256 << 10
	// keptRoom is the largest buffer that is kept for the next call.
	keptRoom = 512 << 10
)

// SetMessages caches mails and says what became of each.
func (c *Cache) SetMessages(mails []Mail) []Outcome {
	outcomes := make([]Outcome, len(mails))
	room, _ := c.rooms.Get().(*[]byte)
	if room == nil {
		room = new([]byte)
	}
	for start := 0; start < len(mails); {
		end, need := start+1, mails[start].room()
		for end < len(mails) && need+mails[end].room() <= packBytes {
			need += mails[end].room()
			end++
		}
		if cap(*room) < need {
			*room = make([]byte, 0, max(need, packBytes))
		}
		c.setSome(mails[start:end], outcomes[start:end], (*room)[:0])
		start = end
	}
	if cap(*room) <= keptRoom {
		c.rooms.Put(room)
	}
	return outcomes
}

// setSome packs in the goroutine of its caller, who knows what to do about a panic, and has the results sent.
func (c *Cache) setSome(mails []Mail, outcomes []Outcome, room []byte) {
	e, ends := encoder{room}, make([]int, len(mails))
	for i := range mails {
		outcomes[i] = TooLarge
		if e.mail(&mails[i]) {
			outcomes[i] = Cached
		}
		ends[i] = len(e.b)
	}
	c.each(len(mails), func(i int) {
		if outcomes[i] == TooLarge {
			return
		}
		start := 0
		if i > 0 {
			start = ends[i-1]
		}
		if !c.set(messageKey(mails[i].ID), e.b[start:ends[i]:ends[i]]) {
			outcomes[i] = Skipped
		}
	})
}

func (c *Cache) set(key string, value []byte) bool {
	if len(value) > MaxBody+100_000 {
		return false
	}
	ttl := time.Duration(float64(c.ttl) * (0.9 + 0.2*rand.Float64()))
	return c.do("set_message", key, func(key string) error {
		return c.writer.Set(&memcache.Item{Key: key, Value: value, Expiration: seconds(ttl)})
	}) == nil
}

// each calls fn with 0 to n-1, some at once: here, and on the writers that are free.
func (c *Cache) each(n int, fn func(int)) {
	var next atomic.Int64
	var others sync.WaitGroup
	work := func() {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			fn(i)
		}
	}
	help := func() {
		defer others.Done()
		work()
	}
	if n > 1 {
		c.started.Do(c.startWriters)
	}
	for range min(n-1, writers) {
		others.Add(1)
		select {
		case c.work <- help:
		default:
			others.Done()
		}
	}
	work()
	others.Wait()
}

// startWriters starts goroutines that stay: a new one for each call would have its stack grown each time.
func (c *Cache) startWriters() {
	for range writers {
		c.running.Go(func() {
			for {
				select {
				case help := <-c.work:
					help()
				case <-c.closing.Done():
					return
				}
			}
		})
	}
}
