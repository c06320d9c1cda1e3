package stream

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/semaphore"
)

const (
	// breakEven is how many waiting mails make an atomic batch cheaper than one fsync each.
	breakEven = 8
	// A single server is given few flights at a time, so that the next one fills up meanwhile; a Raft group
	// shares its fsyncs by itself and is given everything at once.
	airspace          = 256
	singleFlights     = 1
	replicatedFlights = airspace
	// gatherShare: after a batch, its senders' next mails are about to come. The next flight waits for them, for
	// this part of what the batch took at most: that halves the fsyncs of a steady load, and adds nothing when
	// the load is low, since flights below breakEven are not waited for.
	gatherShare = 4
)

// committer writes the mails of one shard. Mails that arrive while a flight is on its way make up the next one:
// batches grow with the load, and a committer that has little to do adds no delay.
type committer struct {
	publisher *Publisher
	shard     *shard

	mu     sync.Mutex
	queue  []*item
	wake   chan struct{}
	flying atomic.Int64
	landed landing // guarded by mu
}

// landing is what is remembered of a batch: until when the next one may wait, and for how many mails.
type landing struct {
	until time.Time
	mails int
}

// item is one small mail on its way into the log.
type item struct {
	id       string
	envelope string
	mail     Mail
	size     int
	copy     int // 1, or n for the message <id>/n
	done     chan error

	// mu is held while the mail's bytes are being sent, so that they are not touched after Publish returned.
	mu        sync.Mutex
	decided   bool // done has, or had, the result
	abandoned bool
	unsure    bool  // an attempt was sent and not answered
	last      error // why it is not stored yet
}

func (it *item) msgID() string { return copyID(it.id, it.copy) }

func newCommitter(p *Publisher, s *shard) *committer {
	return &committer{publisher: p, shard: s, wake: make(chan struct{}, 1)}
}

func (c *committer) enqueue(items ...*item) {
	c.mu.Lock()
	c.queue = append(c.queue, items...)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// take removes the next flight from the queue; all takes everything there is.
func (c *committer) take(all bool) []*item {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, bytes := 0, 0
	for n < len(c.queue) && (all || n < maxBatchMessages && (n == 0 || bytes+c.queue[n].size <= maxBatchBytes)) {
		bytes += c.queue[n].size
		n++
	}
	flight := c.queue[:n:n]
	c.queue = c.queue[n:]
	if len(c.queue) == 0 {
		c.queue = nil
	}
	return flight
}

// run commits until ctx ends; what was still queued then was never sent.
func (c *committer) run(ctx context.Context) {
	var flights sync.WaitGroup
	air := semaphore.NewWeighted(airspace)
	for {
		weight := int64(airspace / singleFlights)
		if c.shard.replicated() {
			weight = airspace / replicatedFlights
		}
		if air.Acquire(ctx, weight) != nil {
			break
		}
		flight := c.next(ctx)
		if flight == nil {
			break
		}
		c.flying.Add(1)
		flights.Go(func() {
			defer air.Release(weight)
			defer c.flying.Add(-1)
			c.fly(ctx, flight)
		})
	}
	flights.Wait()
	for _, it := range c.take(true) {
		it.finish(ErrUnavailable)
	}
}

// fly commits a flight and remembers how it went.
func (c *committer) fly(ctx context.Context, flight []*item) {
	size, start := len(flight), time.Now()
	c.commit(ctx, flight)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.landed = landing{}
	if size >= breakEven {
		c.landed = landing{time.Now().Add(time.Since(start) / gatherShare), min(size+len(c.queue), maxBatchMessages)}
	}
}

// next waits for the next flight; nil when ctx ended.
func (c *committer) next(ctx context.Context) []*item {
	for {
		ready, patience := c.ready()
		if ready {
			if flight := c.take(false); len(flight) > 0 {
				return flight
			}
		}
		var timeout <-chan time.Time
		if patience > 0 {
			timeout = time.After(patience)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timeout:
		case <-c.wake:
		}
	}
}

// ready says whether to leave with what is queued, or else how long to wait for more.
func (c *committer) ready() (ok bool, patience time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return false, 0
	}
	patience = time.Until(c.landed.until)
	return patience <= 0 || len(c.queue) >= c.landed.mails, patience
}

// finish gives Publish its result; the first one counts.
func (it *item) finish(err error) {
	it.mu.Lock()
	defer it.mu.Unlock()
	if !it.decided {
		it.decided = true
		it.done <- err
	}
}

// abandon ends the item's part in further attempts and says what to tell: only a mail of which no attempt went
// unanswered is surely not in the log.
func (it *item) abandon() (unsure bool, last error) {
	it.mu.Lock()
	defer it.mu.Unlock()
	it.abandoned = true
	return it.unsure, it.last
}

// message builds the stream message of a mail that fits into one.
func (it *item) message(subject string) *nats.Msg {
	header := nats.Header{IDHeader: {it.msgID()}, EnvelopeHeader: {it.envelope}}
	if it.mail.Trace != "" {
		header[TraceHeader] = []string{it.mail.Trace}
	}
	return &nats.Msg{Subject: subject, Header: header, Data: it.mail.Raw}
}
