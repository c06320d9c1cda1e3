// Package pace has all waiting times of a worker in one place, so that tests can shorten them.
package pace

import (
	"math/rand/v2"
	"time"
)

// Pace is how long a worker waits for what.
type Pace struct {
	// First and Most bound the back-off while something is away.
	First, Most time.Duration
	// Linger is how long a batch waits for more mail.
	Linger time.Duration
	// Extend is how often held mail is extended.
	Extend time.Duration
	// Look is how often a replay looks whether it is through.
	Look time.Duration
	// Refresh is how often a mark is refreshed while its mails are handled. Without that for Stale, its process is
	// doubted; after as long again it is believed to be dead.
	Refresh, Stale time.Duration
	// Rediscover is how often new shards are looked for and the lag is read.
	Rediscover time.Duration
}

// Backoff is the wait before attempt n (from 0): doubling, with jitter so that replicas do not march in step.
func (p Pace) Backoff(n int) time.Duration {
	d := p.Most
	if n < 20 {
		d = min(p.Most, p.First<<n)
	}
	return d/2 + rand.N(d/2+1)
}
