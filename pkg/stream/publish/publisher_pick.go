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

// stickyFor bounds how long one shard gets all small mails, so that the shards fill evenly.
const stickyFor = 2 * time.Second

// sticky is the shard that gets all small mails since then. Spread mail by mail, a load that fills one pack at a time would
// make several small ones of it, each with a fsync of its own. It ends early when a whole pack waits already: then the
// fsyncs of several shards overlap.
type sticky struct {
	shard *shard
	since time.Time
}

// pickSmall chooses the shard for a small mail: the sticky one while it is well.
func (p *Publisher) pickSmall() (*shard, error) {
	p.mu.Lock()
	last, only := p.sticky, len(p.shards) == 1
	p.mu.Unlock()
	if last.holds(only) && p.link.downFor() <= grace {
		return last.shard, nil
	}
	s, err := p.pick()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.sticky = sticky{s, time.Now()}
	p.mu.Unlock()
	return s, nil
}

func (s sticky) holds(only bool) bool {
	if s.shard == nil || !only && time.Since(s.since) > stickyFor {
		return false
	}
	err, suffers := s.shard.state()
	return err == nil && !suffers && (only || !s.shard.driver.full() && s.shard.driver.large.Load() == 0)
}

// pick chooses a shard: of the healthy shards the one with the shortest queue, in turn when queues are equal. A shard that
// has been failing for a short time is chosen only when there is no healthy one. Later attempts use the same shard, because only
// its stream can recognise the id of the mail.
func (p *Publisher) pick() (*shard, error) {
	if down := p.link.downFor(); down > grace {
		return nil, fmt.Errorf("%w: no connection to it", ErrUnavailable)
	}
	p.mu.Lock()
	shards, last := p.shards, p.sticky.shard
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
		load := s.driver.load()
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

// reroute moves mail from a failing shard to a working one, if the failing shard certainly has not stored it: its queue, and packs
// whose attempts were all answered. When its stream no longer exists, all packs are moved.
func (p *Publisher) reroute(from *driver) {
	p.moving.Lock()
	defer p.moving.Unlock()
	if p.link.downFor() > 0 {
		return
	}
	best, err := p.pick()
	if err != nil || best.driver == from {
		return
	}
	if _, suffers := best.state(); suffers {
		return
	}
	to, gone := best.driver, from.shard.missing()
	from.mu.Lock()
	to.mu.Lock()
	queue, packs := from.c.surrender(gone)
	for _, it := range queue {
		it.home.Store(to)
	}
	for _, pack := range packs {
		for _, it := range pack.items {
			it.home.Store(to)
		}
	}
	to.c.adopt(time.Now(), queue, packs)
	out, _ := to.collect()
	from.mu.Unlock()
	to.mu.Unlock()
	to.signal()
	to.perform(out)
}
