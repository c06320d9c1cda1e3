package publish

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Ready says whether a mail could be published now, as far as is known: asked at MAIL, it spares the sender
// the transfer of a mail that would be refused.
func (p *Publisher) Ready() error {
	if _, err := p.pick(); err != nil {
		return err
	}
	if held := p.inflight.Load(); held > p.cfg.MaxInflightBytes/10*9 {
		return fmt.Errorf("%w: %d bytes of mail wait for it already", ErrBusy, held)
	}
	return nil
}

// streakTime bounds a streak, so that the shards fill evenly.
const streakTime = 2 * time.Second

// streak is a shard that gets all small mails since then. Spread mail by mail, a load that fills one flight at a time
// would make several small ones of it, each with fsyncs of its own. A streak ends when a good flight waits already:
// then the fsyncs of several shards overlap.
type streak struct {
	shard *shard
	since time.Time
}

// pickSmall chooses the shard for a small mail: that of the present streak while it lasts and is well.
func (p *Publisher) pickSmall() (*shard, error) {
	p.mu.Lock()
	last := p.streak
	p.mu.Unlock()
	if last.goesOn() && p.link.downFor() <= grace {
		return last.shard, nil
	}
	s, err := p.pick()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.streak = streak{s, time.Now()}
	p.mu.Unlock()
	return s, nil
}

func (s streak) goesOn() bool {
	if s.shard == nil || time.Since(s.since) > streakTime || !s.shard.grouped() {
		return false
	}
	err, suffers := s.shard.state()
	return err == nil && !suffers && !s.shard.queue.full() && s.shard.queue.large.Load() == 0
}

// pick chooses a shard: among the healthy ones that with the shortest queue, by turns when they are equal; one that
// is failing, but not for long, only when there is no other. The mail stays with it, since only there is it known by
// its id.
func (p *Publisher) pick() (*shard, error) {
	if down := p.link.downFor(); down > grace {
		return nil, fmt.Errorf("%w: no connection to it", ErrUnavailable)
	}
	p.mu.Lock()
	shards, last := p.shards, p.streak.shard
	p.mu.Unlock()
	var best *shard
	var bestLoad int
	var bestSuffers bool
	var why error
	next := slices.Index(shards, last) + 1
	for i := range shards {
		s := shards[(next+i)%len(shards)]
		err, suffers := s.state()
		if err != nil {
			why = worse(why, err)
			continue
		}
		load := s.queue.load()
		if best == nil || bestSuffers && !suffers || bestSuffers == suffers && load < bestLoad {
			best, bestLoad, bestSuffers = s, load, suffers
		}
	}
	if best != nil {
		return best, nil
	}
	if why == nil {
		why = fmt.Errorf("%w: it has no streams yet; `sluicectl streams ensure` or `storer migrate` makes them", ErrUnavailable)
	}
	return nil, why
}

// worse keeps the reason that the operator can do most about.
func worse(a, b error) error {
	for _, kind := range []error{ErrUnsynced, ErrClock, ErrFull} {
		if errors.Is(a, kind) {
			return a
		}
		if errors.Is(b, kind) {
			return b
		}
	}
	return b
}

// full says that a good flight is waiting.
func (c *committer) full() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.filled()
}

// load is how many bytes wait in this committer.
func (c *committer) load() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes + c.aloft + int(c.large.Load())
}

// idle says that nothing is waiting for this committer's shard.
func (c *committer) idle() bool { return c.load() == 0 }

// reroute moves what a shard in trouble surely does not hold to one that works: its queue, and those mails of its
// flight of which no attempt went unanswered; all of them when its stream is no more. It returns the rest of the
// flight.
func (p *Publisher) reroute(from *committer, flight []*item) []*item {
	to, err := p.pick()
	if err != nil || to.queue == from {
		return flight
	}
	if _, suffers := to.state(); suffers {
		return flight
	}
	rest, gone := flight[:0], from.shard.missing()
	moved := from.drain()
	for _, it := range flight {
		it.mu.Lock()
		switch {
		case it.decided || it.abandoned:
		case it.unsure && !gone:
			rest = append(rest, it)
		default:
			if it.unsure { // it may have been read before the stream went
				it.copy++
			}
			moved = append(moved, it)
		}
		it.mu.Unlock()
	}
	to.queue.enqueue(moved...)
	return rest
}
