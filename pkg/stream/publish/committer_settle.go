package publish

import (
	"fmt"
	"slices"
	"time"
)

// answered tells the committer the log's answer to an attempt. A late acknowledgement counts like one in time, because the bytes are
// the same. Any other late answer is ignored.
func (c *committer) answered(now time.Time, number uint64, a answer) {
	p := c.attempts[number]
	if p == nil || number != p.attempt && classify(a) != stored {
		return
	}
	c.settle(now, p, a)
	c.advance(now)
}

// lose notes that an attempt will not be answered.
func (c *committer) lose(now time.Time, p *pack, why error) { c.settle(now, p, answer{lost: why}) }

// settle is the table of outcomes (publisher_outcome.go) for a pack.
func (c *committer) settle(now time.Time, p *pack, a answer) {
	outcome := classify(a)
	c.out.notes = append(c.out.notes, note{outcome, a, len(p.payload)})
	p.attempt = 0
	switch outcome {
	case stored:
		c.conclude(now, p, nil)
	case full:
		c.conclude(now, p, p.word(fmt.Errorf("%w: %w", ErrFull, a.reason())))
	case wrong:
		c.refused(now, p, a)
	case doubled:
		p.copy++
		p.unsure, p.last, p.due = true, a.reason(), now
	default:
		c.again(now, p, outcome, a)
	}
}

// word is the error for the waiting senders. Once the outcome was unknown (unsure), it stays unconfirmed.
func (p *pack) word(err error) error {
	if p.unsure {
		return unconfirmed(err)
	}
	return err
}

// again has a pack sent once more after a pause.
func (c *committer) again(now time.Time, p *pack, outcome outcome, a answer) {
	p.last = a.reason()
	switch outcome {
	case unsure:
		p.unsure = true
	case busy:
		p.last = fmt.Errorf("%w: %w", ErrBusy, a.reason())
	case absent:
		p.last = fmt.Errorf("%w: %w", ErrUnavailable, a.reason())
	}
	pause := c.longest
	if p.tries < 16 {
		pause = min(c.longest, c.pause<<(p.tries-1))
	}
	p.due = now.Add(pause)
	c.out.trouble = true
}

// refused: the log refuses the pack because of one of its mails. Each mail is published once more in a message of its own, so that
// the others are accepted.
func (c *committer) refused(now time.Time, p *pack, a answer) {
	if len(p.items) == 1 {
		c.conclude(now, p, p.word(fmt.Errorf("%w: %w", ErrRefused, a.reason())))
		return
	}
	from := 0
	for i, it := range p.items {
		part := p.payload[from : from+it.size]
		from += it.size
		if it.decided {
			continue
		}
		one := &pack{
			items: []*item{it}, envelopes: p.envelopes[i : i+1], payload: slices.Clone(part), copy: 1, awaited: 1,
			unsure: p.unsure, last: a.reason(), due: now,
		}
		it.pack = one
		c.packs = append(c.packs, one)
		c.out.release -= it.size
	}
	c.drop(p)
}

// conclude ends a pack with the same result for all of its mails.
func (c *committer) conclude(now time.Time, p *pack, err error) {
	c.tellAll(p, err)
	c.drop(p)
	c.gather = now.Add(min(max(gatherTimes*now.Sub(p.begun), c.linger), c.gatherMost))
	c.expected = len(p.items) + len(c.queue)
}

func (c *committer) tellAll(p *pack, err error) {
	for _, it := range p.items {
		if it.pack == p {
			c.tell(it, err)
		}
	}
}

func (c *committer) tell(it *item, err error) {
	if !it.decided {
		it.decided = true
		c.out.settle = append(c.out.settle, result{it, err})
	}
}

// stop ends all mails and packs with an error.
func (c *committer) stop() {
	c.stopped = true
	for _, it := range c.queue {
		c.tell(it, errStopping(false))
		c.out.release += it.size
	}
	c.queue, c.bytes, c.room = nil, 0, 0
	for len(c.packs) > 0 {
		p := c.packs[0]
		c.tellAll(p, errStopping(p.unsure || p.attempt != 0))
		c.drop(p)
	}
}

func errStopping(unsure bool) error {
	if unsure {
		return fmt.Errorf("%w: this ingress is stopping", ErrUnconfirmed)
	}
	return fmt.Errorf("%w: this ingress is stopping", ErrUnavailable)
}

// surrender returns everything that is certainly not stored here, so that another shard can take it: the queue, and packs whose
// attempts were all answered. gone says that the stream no longer exists, nor anything that it may have stored.
func (c *committer) surrender(gone bool) (queue []*item, packs []*pack) {
	queue = c.queue
	c.queue, c.bytes, c.room = nil, 0, 0
	for _, p := range slices.Clone(c.packs) {
		if p.attempt != 0 || p.sending > 0 || p.unsure && !gone {
			continue
		}
		if p.unsure { // it may have been read before the stream went
			p.copy++
		}
		c.forget(p)
		packs = append(packs, p)
	}
	return queue, packs
}

// adopt takes what another committer has surrendered.
func (c *committer) adopt(now time.Time, queue []*item, packs []*pack) {
	for _, p := range packs {
		p.due = now
		c.packs = append(c.packs, p)
		c.earlier(p.items)
	}
	c.earlier(queue)
	for _, it := range queue {
		it.arrived = now
		c.queue = append(c.queue, it)
		c.bytes += it.size
		c.room += it.room
	}
	c.advance(now)
}

// earlier takes the deadlines of mails into account.
func (c *committer) earlier(items []*item) {
	for _, it := range items {
		if c.earliest.IsZero() || it.deadline.Before(c.earliest) {
			c.earliest = it.deadline
		}
	}
}
