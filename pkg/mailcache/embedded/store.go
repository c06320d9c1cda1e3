package embedded

import (
	"fmt"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

// item is one value. It is never changed in place, because a reader may be sending it.
type item struct {
	value   []byte
	flags   uint32
	cas     uint64
	expires time.Time // zero: never
}

const (
	overhead = 64                   // of an entry beside key and value, roughly
	forever  = 10 * 365 * 24 * 3600 // seconds
)

// store is the cache under the protocol.
type store struct {
	cache *otter.Cache[string, item]
	cas   atomic.Uint64
}

func newStore(maxBytes int64) (*store, error) {
	cache, err := otter.New(&otter.Options[string, item]{
		MaximumWeight: uint64(max(1<<20, maxBytes)),
		Weigher: func(key string, i item) uint32 {
			return uint32(min(len(key)+len(i.value)+overhead, math.MaxUint32))
		},
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[string, item]) time.Duration { return e.Value.lifetime() }),
	})
	if err != nil {
		return nil, fmt.Errorf("in-process cache: %w", err)
	}
	return &store{cache: cache}, nil
}

func (s *store) close() { s.cache.StopAllGoroutines() }

func (i item) lifetime() time.Duration {
	if i.expires.IsZero() {
		return forever * time.Second
	}
	return max(1, time.Until(i.expires))
}

// expired is asked on each access, because the cache clears out only now and then.
func (i item) expired() bool { return !i.expires.IsZero() && !time.Now().Before(i.expires) }

// deadline is the protocol's expiry: seconds from now, a Unix time when larger than 30 days, at once when negative.
func deadline(exptime int64) time.Time {
	switch {
	case exptime == 0:
		return time.Time{}
	case exptime < 0:
		return time.Unix(1, 0)
	case exptime > 30*24*3600:
		return time.Unix(exptime, 0)
	}
	return time.Now().Add(time.Duration(exptime) * time.Second)
}

func (s *store) get(key string) (item, bool) {
	i, ok := s.cache.GetIfPresent(key)
	if !ok || i.expired() {
		return item{}, false
	}
	return i, true
}

// change replaces the value of a key as fn says, with no other change in between. fn returns false to leave it alone.
func (s *store) change(key string, fn func(old item, found bool) (item, bool)) {
	s.cache.Compute(key, func(old item, found bool) (item, otter.ComputeOp) {
		next, write := fn(old, found && !old.expired())
		if !write {
			return old, otter.CancelOp
		}
		next.cas = s.cas.Add(1)
		return next, otter.WriteOp
	})
}

func (s *store) remove(key string) (found bool) {
	s.cache.Compute(key, func(old item, present bool) (item, otter.ComputeOp) {
		found = present && !old.expired()
		return old, otter.InvalidateOp
	})
	return found
}

// put is set, add, replace, append, prepend and cas. It returns the reply.
func (s *store) put(verb, key string, given item, cas uint64) (reply string) {
	reply = "NOT_STORED"
	s.change(key, func(old item, found bool) (item, bool) {
		switch {
		case verb == "cas" && !found:
			reply = "NOT_FOUND"
			return old, false
		case verb == "cas" && old.cas != cas:
			reply = "EXISTS"
			return old, false
		case verb == "add" && found, !found && (verb == "replace" || verb == "append" || verb == "prepend"):
			return old, false
		case verb == "append" || verb == "prepend":
			first, second := old.value, given.value
			if verb == "prepend" {
				first, second = second, first
			}
			if len(first)+len(second) > maxValue {
				reply = tooLarge
				return old, false
			}
			joined := append(append(make([]byte, 0, len(first)+len(second)), first...), second...)
			given = item{value: joined, flags: old.flags, expires: old.expires}
		}
		reply = "STORED"
		return given, true
	})
	return reply
}

// add is incr and decr: the value is a number in decimal; decr stops at 0, incr wraps.
func (s *store) add(key string, delta uint64, up bool) (reply string) {
	reply = "NOT_FOUND"
	s.change(key, func(old item, found bool) (item, bool) {
		if !found {
			return old, false
		}
		n, err := strconv.ParseUint(string(old.value), 10, 64)
		if err != nil {
			reply = "CLIENT_ERROR cannot increment or decrement non-numeric value"
			return old, false
		}
		if up {
			n += delta
		} else {
			n -= min(n, delta)
		}
		reply = strconv.FormatUint(n, 10)
		old.value = []byte(reply)
		return old, true
	})
	return reply
}

// touch gives a key a new expiry and returns its item.
func (s *store) touch(key string, expires time.Time) (touched item, ok bool) {
	s.change(key, func(old item, found bool) (item, bool) {
		old.expires = expires
		touched, ok = old, found
		return old, found
	})
	return touched, ok
}
