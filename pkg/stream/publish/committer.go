package publish

import (
	"errors"
	"fmt"
	"time"
)

// committer decides what happens to the small mails of one shard. It is a state machine: its methods tell it what
// happened and at what time, and it collects the resulting actions in out until take fetches them. It has no clock, goroutine
// or connection, so every order of events can be tested. driver.go carries out the actions.
//
//	add ─▶ queue ─cut─▶ pack ─send─▶ on its way ─answered─┬─ stored, full, refused ─▶ settle
//	        │            ▲                                 └─ unknown, busy, copy ─▶ waits ─tick─▶ send, same id and bytes
//	        └────────────┴──── leave, expire: told what is known by then
//
// Mails that arrive while packs are on their way form the next pack. So packs grow with the load, and a committer that
// has little to do adds no delay.
type committer struct {
	limits
	up bool // there is a connection

	queue []*item
	bytes int // of queue
	room  int // in the headers of a pack, of queue

	packs    []*pack          // until they are decided, oldest first
	attempts map[uint64]*pack // of those packs, every attempt that was made
	number   uint64           // of the newest attempt
	gather   time.Time        // until then, mails of the senders that were just answered are waited for
	expected int              // how many of those, and of queue
	earliest time.Time        // no deadline of a mail is before it
	spare    [][]byte         // payloads for other packs
	stopped  bool

	out effects
}

const (
	packsInFlight = 2
	gatherTimes   = 5
	answerWait    = 5 * time.Second
	firstPause    = 50 * time.Millisecond
	longPause     = 2 * time.Second
)

// limits are what a committer is tuned by.
type limits struct {
	// inFlight is how many packs may be undecided before another one is made. The second one is made only when half of what
	// fits into it is waiting. Measured (bench commit): more and smaller packs are slower on one server, and make p99 worse on
	// three.
	inFlight int
	// linger is how long a second pack waits for more mail. After a pack has been answered, the next one waits for as many mails
	// as the senders of that pack and the queue can bring, for up to gatherTimes the duration of that pack, because a sender
	// needs four round trips under the same load before its next mail. Measured (bench accept, 64 senders of 4 KB): 63 mails in a
	// message instead of 30, two thirds of the log's processor time, and four ingresses accept 0.93 instead of 0.64 times what
	// one does. The wait is never longer than gatherMost. A single sender does not wait, because only one mail is expected.
	linger, gatherMost time.Duration
	// answer is how long one attempt waits for its answer. An election of a leader takes 4 to 9 seconds, and a second attempt
	// during it costs little. When a fsync takes longer than this, the log gets the pack twice.
	answer time.Duration
	// pause is the wait before a second attempt, doubled for each further one up to longest.
	pause, longest time.Duration
}

func defaultLimits() limits {
	return limits{inFlight: packsInFlight, linger: time.Millisecond, gatherMost: 20 * time.Millisecond, answer: answerWait, pause: firstPause, longest: longPause}
}

// effects are what a committer wants to be done.
type effects struct {
	send    []attempt // publish them
	settle  []result  // tell them to Publish
	notes   []note    // what answers say about the shard
	release int       // bytes of mail that are not held any more
	// trouble: something could not be stored here; another shard may take it.
	trouble bool
}

type result struct {
	item *item
	err  error
}

type note struct {
	outcome outcome
	answer  answer
	bytes   int
}

func newCommitter(l limits) *committer {
	return &committer{limits: l, attempts: make(map[uint64]*pack)}
}

// take returns the actions that have been collected.
func (c *committer) take() effects {
	out := c.out
	c.out = effects{}
	return out
}

// add gives it a mail.
func (c *committer) add(now time.Time, it *item) {
	if c.stopped {
		c.tell(it, errStopping(false))
		c.out.release += it.size
		return
	}
	it.arrived = now
	if c.earliest.IsZero() || it.deadline.Before(c.earliest) {
		c.earliest = it.deadline
	}
	c.queue = append(c.queue, it)
	c.bytes += it.size
	c.room += it.room
	c.advance(now)
}

// tick tells it that time has passed.
func (c *committer) tick(now time.Time) {
	for _, p := range c.packs {
		if p.attempt != 0 && !now.Before(p.due) {
			c.lose(now, p, errTimeout)
		}
	}
	if !c.earliest.IsZero() && !now.Before(c.earliest) {
		c.expire(now)
	}
	c.advance(now)
}

// link tells the committer whether there is a connection. Attempts that are on their way when it is lost will not be answered.
func (c *committer) link(now time.Time, up bool) {
	c.up = up
	for _, p := range c.packs {
		switch {
		case !up && p.attempt != 0:
			c.lose(now, p, errDisconnected)
		case up && p.attempt == 0: // what was kept from it is sent at once
			p.due = now
		}
	}
	c.advance(now)
}

// leave removes a mail whose Publish no longer waits, and returns what is known about it. While another mail of its pack is
// awaited, it may still be stored together with that one.
func (c *committer) leave(now time.Time, it *item, cause error) error {
	c.part(it)
	err := c.farewell(it, cause)
	c.advance(now)
	return err
}

// part removes a mail from those that are awaited.
func (c *committer) part(it *item) {
	it.decided = true
	if it.pack != nil {
		it.pack.awaited--
		return
	}
	c.unqueue(it)
	c.out.release += it.size
}

// farewell is the error for a mail that is no longer awaited.
func (c *committer) farewell(it *item, cause error) error {
	p, last := it.pack, it.last
	outside := p == nil
	if p != nil {
		outside, last = !p.unsure && p.attempt == 0 && p.awaited == 0, p.last
		if p.awaited == 0 {
			c.drop(p)
		}
	}
	switch {
	case last == nil:
		last = fmt.Errorf("%w: %w", ErrUnavailable, cause)
	case !outside:
		last = fmt.Errorf("%w (%w)", cause, last)
	}
	if outside {
		return last
	}
	return unconfirmed(last)
}

// expire removes the mails whose deadline has passed.
func (c *committer) expire(now time.Time) {
	c.earliest = time.Time{}
	var over []*item
	look := func(items []*item) {
		for _, it := range items {
			switch {
			case it.decided:
			case !now.Before(it.deadline):
				over = append(over, it)
			case c.earliest.IsZero() || it.deadline.Before(c.earliest):
				c.earliest = it.deadline
			}
		}
	}
	look(c.queue)
	for _, p := range c.packs {
		look(p.items)
	}
	for _, it := range over { // before the first farewell: if all mails of a pack expire now, none of them awaits it any more
		c.part(it)
	}
	for _, it := range over {
		c.out.settle = append(c.out.settle, result{it, c.farewell(it, errExpired)})
	}
}

var errExpired = errors.New("its deadline has passed")

// advance sends what may be sent now.
func (c *committer) advance(now time.Time) {
	if !c.up {
		return
	}
	for _, p := range c.packs {
		if p.attempt == 0 && !now.Before(p.due) {
			c.send(now, p)
		}
	}
	for len(c.packs) < c.inFlight && c.ready(now) {
		c.send(now, c.cut())
	}
}

// ready says whether the next pack should leave with what is in the queue.
func (c *committer) ready(now time.Time) bool {
	switch {
	case len(c.queue) == 0:
		return false
	case c.full():
		return true
	case len(c.packs) == 0:
		return !now.Before(c.gather) || len(c.queue) >= c.expected
	}
	return c.half() && now.Sub(c.queue[0].arrived) >= c.linger
}

// wake is when it wants to be ticked, zero when nothing is due.
func (c *committer) wake() time.Time {
	at := c.earliest
	soonest := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	for _, p := range c.packs {
		if p.attempt != 0 || c.up {
			soonest(p.due)
		}
	}
	if c.up && len(c.queue) > 0 && len(c.packs) < c.inFlight {
		switch arrived := c.queue[0].arrived; {
		case len(c.packs) == 0 && c.gather.After(arrived):
			soonest(c.gather)
		case len(c.packs) == 0:
			soonest(arrived)
		case c.half():
			soonest(arrived.Add(c.linger))
		}
	}
	return at
}

// load is how many bytes wait, at least 1 when something does.
func (c *committer) load() int {
	n := c.bytes + len(c.queue) + len(c.packs)
	for _, p := range c.packs {
		n += len(p.payload)
	}
	return n
}

func (c *committer) idle() bool { return len(c.queue) == 0 && len(c.packs) == 0 }
