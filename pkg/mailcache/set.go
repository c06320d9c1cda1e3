package mailcache

import (
	"math/rand/v2"
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

// mostValue is what Memcached takes, by its default, with what it adds itself. An envelope has up to 48 KB.
const mostValue = MaxBody + 100_000

// SetMessages caches mails and says what became of each. It packs in the goroutine of its caller, who knows what to do about a panic.
func (c *Cache) SetMessages(mails []Mail) []Outcome {
	outcomes := make([]Outcome, len(mails))
	s := c.sender("set_message", func(i int, err error) {
		if err == nil {
			outcomes[i] = Cached
		}
	})
	defer s.release()
	for i := range mails {
		value := s.pack(&mails[i])
		switch {
		case value == nil:
			outcomes[i] = TooLarge
			continue
		case len(value) > mostValue:
			continue
		}
		ttl := time.Duration(float64(c.ttl) * (0.9 + 0.2*rand.Float64()))
		item := &memcache.Item{Key: messageKey(mails[i].ID), Value: value, Expiration: seconds(ttl)}
		s.ask(i, item.Key, stored, func(to *memcache.Client) error { return to.Set(item) })
	}
	s.flush()
	return outcomes
}

// pack returns the value of a mail, until the next is packed; nil when it is too large.
func (s *sender) pack(m *Mail) []byte {
	if need := m.room(); cap(s.room) < need {
		s.room = make([]byte, 0, max(need, 64<<10))
	}
	e := encoder{s.room[:0]}
	if !e.mail(m) {
		return nil
	}
	return e.b
}
