package publish

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluice-mail/sluice/pkg/stream"
)

const (
	// breakEven is how many waiting mails make an atomic batch cheaper than one fsync each.
	breakEven = 8
	// A single server is given few flights at a time, so that the next one fills up meanwhile, and the second only when
	// it is a good one: then the server reads it while it syncs the first. Measured with 256 senders (bench commit,
	// 20 KB): 1.4 times the rate of one flight at a time. A Raft group shares its fsyncs by itself and is given
	// everything at once.
	singleFlights     = 2
	replicatedFlights = 256
	// goodFlight: with so many mails (or half of what fits) waiting, the second flight leaves. Measured with 128 and 256
	// senders of 4 KB (bench commit): 1.3 to 1.5 times the rate that 64 gave; with 20 KB the bytes decide.
	goodFlight = 128
	// gatherMost: after a batch, its senders' next mails are about to come. The next flight waits for as many, for as
	// long as the batch took, from its first mail sent ahead, and gatherMost at most. Measured with 64 senders (bench
	// accept, 20 KB): three times the mails in a batch and a fifth less processor time for each than with a quarter of
	// that wait. A low load is not delayed, since flights below breakEven are not waited for.
	gatherMost = 20 * time.Millisecond
	// letPassMost: under a load that never pauses, large mail has its turn, too.
	letPassMost = 100 * time.Millisecond
)

// committer writes the mails of one shard. Mails that arrive while a flight is on its way make up the next one:
// batches grow with the load, and a committer that has little to do adds no delay. What fills up meanwhile is sent ahead,
// so that the log has read and staged most of a batch when its commit comes.
type committer struct {
	publisher *Publisher
	shard     *shard
	wake      chan struct{}
	large     atomic.Int64 // bytes of mails on their way to this shard past the queue

	mu     sync.Mutex
	queue  []*item
	bytes  int        // in queue
	open   *openBatch // the next flight's, when some of it was sent ahead
	ahead  int        // how many of queue those are
	aloft  int        // flights
	landed landing
	calm   chan struct{} // closed when nothing is in queue or aloft; nil unless somebody asked for that
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
	batch     *openBatch // the last one that it was sent in
	awaited   bool       // an attempt was sent, and how it ends is not known yet
	unsure    bool       // an attempt was sent and not answered
	last      error      // why it is not stored yet
}

func (it *item) msgID() string { return copyID(it.id, it.copy) }

func newCommitter(p *Publisher, s *shard) *committer {
	return &committer{publisher: p, shard: s, wake: make(chan struct{}, 1)}
}

func (c *committer) enqueue(items ...*item) {
	c.mu.Lock()
	c.queue = append(c.queue, items...)
	c.bytes += size(items)
	c.mu.Unlock()
	c.signal()
}

// signal has run look again.
func (c *committer) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run commits until ctx ends; what was still queued then was never sent, or in a batch that is never committed.
func (c *committer) run(ctx context.Context) {
	var flights sync.WaitGroup
	for flight, open := c.next(ctx); flight != nil; flight, open = c.next(ctx) {
		flights.Go(func() { c.fly(ctx, flight, open) })
	}
	flights.Wait()
	for _, it := range c.drain() {
		it.finish(ErrUnavailable)
	}
}

// next waits for the next flight; nil when ctx ended.
func (c *committer) next(ctx context.Context) (flight []*item, open *openBatch) {
	for {
		flight, open, patience := c.depart()
		if len(flight) > 0 {
			return flight, open
		}
		if c.sendAhead() {
			continue
		}
		var timeout <-chan time.Time
		if patience > 0 {
			timeout = time.After(patience)
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case <-timeout:
		case <-c.wake:
		}
	}
}

// depart takes a flight from the queue if one may leave now, with the batch in which some of it was sent ahead, or says
// how long to wait for more mails; 0: until something happens.
func (c *committer) depart() (flight []*item, open *openBatch, patience time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ready, patience := c.ready()
	if !ready {
		return nil, nil, patience
	}
	c.aloft++
	flight, open = c.take(), c.open
	c.open, c.ahead = nil, 0
	return flight, open, 0
}

// sendAhead sends what waits for the next flight, once it is a batch, as members of it; all but the newest mail, which can
// carry the commit. It says whether it sent something. Measured with 64 senders (bench accept, 20 KB): 1.2 times the
// rate, a fifth less processor time for each mail.
func (c *committer) sendAhead() bool {
	b, mails := c.due()
	for _, it := range mails {
		if err := it.join(b, c.shard.number); err != nil {
			c.mu.Lock()
			if c.open == b { // it goes on without that batch, which will never be committed
				c.open, c.ahead = nil, 0
			}
			c.mu.Unlock()
			return false
		}
	}
	return len(mails) > 0
}

// due is what may be sent ahead now, and the batch to send it in.
func (c *committer) due() (*openBatch, []*item) {
	if !c.shard.grouped() || c.publisher.link.downFor() > 0 {
		return nil, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.fitting() - 1
	if n-c.ahead < breakEven || c.aloft >= singleFlights {
		return nil, nil
	}
	if c.open == nil {
		c.open = newBatch(c.publisher.nc)
	}
	mails := c.queue[c.ahead:n:n]
	c.ahead = n
	return c.open, mails
}

// join sends the mail as a member of the batch if its Publish still waits.
func (it *item) join(b *openBatch, shard int) error {
	it.mu.Lock()
	defer it.mu.Unlock()
	if it.abandoned || it.decided {
		return nil
	}
	it.batch, it.awaited = b, true
	return b.add(it.message(stream.HeadSubject(shard)))
}

func (c *committer) ready() (ok bool, patience time.Duration) {
	switch {
	case len(c.queue) == 0:
		return false, 0
	case c.shard.replicated():
		return c.aloft < replicatedFlights, 0
	case c.filled():
		return c.aloft < singleFlights, 0
	case c.aloft > 0:
		return false, 0
	}
	patience = time.Until(c.landed.until)
	return patience <= 0 || len(c.queue) >= c.landed.mails, patience
}

// filled says that the next flight is a good one already.
func (c *committer) filled() bool {
	return len(c.queue) >= goodFlight || c.bytes >= maxBatchBytes/2
}

// fitting is how many of the queue fit into one batch.
func (c *committer) fitting() (n int) {
	for bytes := 0; n < len(c.queue) && n < maxBatchMessages; n++ {
		if bytes += c.queue[n].size; n > 0 && bytes > maxBatchBytes {
			break
		}
	}
	return n
}

// take cuts what fits into one batch from the queue.
func (c *committer) take() []*item {
	n := c.fitting()
	flight := c.queue[:n:n]
	c.queue, c.bytes = c.queue[n:], c.bytes-size(flight)
	if len(c.queue) == 0 {
		c.queue = nil
	}
	return flight
}

// drain takes everything.
func (c *committer) drain() []*item {
	c.mu.Lock()
	defer c.mu.Unlock()
	rest := c.queue
	c.queue, c.bytes = nil, 0
	c.open, c.ahead = nil, 0 // never committed, so none of them is stored by it
	return rest
}

// fly commits a flight and remembers how it went.
func (c *committer) fly(ctx context.Context, flight []*item, open *openBatch) {
	mails, start := len(flight), time.Now()
	if open != nil {
		start = open.begun
	}
	c.commit(ctx, flight, open)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aloft--
	c.landed = landing{}
	if mails >= breakEven {
		c.landed = landing{time.Now().Add(min(time.Since(start), gatherMost)), mails + len(c.queue)}
	}
	if c.calm != nil && c.aloft == 0 && len(c.queue) == 0 {
		close(c.calm)
		c.calm = nil
	}
	c.signal()
}

// letPass waits until no small mail waits, for letPassMost at most: the commit of a large mail keeps the stream busy for a
// tenth of a second and more, and who waited for the one before should not wait for the next one, too.
func (c *committer) letPass(ctx context.Context) {
	c.mu.Lock()
	if c.aloft == 0 && len(c.queue) == 0 {
		c.mu.Unlock()
		return
	}
	if c.calm == nil {
		c.calm = make(chan struct{})
	}
	calm := c.calm
	c.mu.Unlock()
	select {
	case <-calm:
	case <-time.After(letPassMost):
	case <-ctx.Done():
	}
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
	return it.unsure || it.awaited, it.last
}

// message builds the stream message of a mail that fits into one.
func (it *item) message(subject string) *nats.Msg {
	header := nats.Header{stream.IDHeader: {it.msgID()}, stream.EnvelopeHeader: {it.envelope}}
	if it.mail.Trace != "" {
		header[stream.TraceHeader] = []string{it.mail.Trace}
	}
	return &nats.Msg{Subject: subject, Header: header, Data: it.mail.Raw}
}
