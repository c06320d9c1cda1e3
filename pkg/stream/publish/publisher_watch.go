package publish

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/stream"
)

const (
	// watchEvery is how often a healthy shard is asked about itself, troubledEvery any other.
	watchEvery    = 5 * time.Second
	troubledEvery = 500 * time.Millisecond
	watchTick     = 250 * time.Millisecond
	infoWait      = 2 * time.Second
	// firstWait is for the first answer of all: a server that is still starting gives none, and until it is asked again
	// no mail is taken.
	firstWait = 500 * time.Millisecond
)

// watch asks the streams about themselves, and for new ones, until ctx ends. STREAM.INFO is all it needs: the
// ingress has no right to list streams, so it asks for one number after the other.
func (p *Publisher) watch(ctx context.Context, tasks *sync.WaitGroup) {
	tick := time.NewTicker(watchTick)
	defer tick.Stop()
	var nextShard time.Time
	due := map[*shard]time.Time{}
	for {
		if p.link.downFor() == 0 {
			var asking sync.WaitGroup
			for _, s := range p.known() {
				if time.Now().After(due[s]) {
					asking.Go(func() { p.ask(ctx, s) })
					due[s] = time.Now().Add(interval(s))
				}
			}
			asking.Wait()
			if time.Now().After(nextShard) {
				nextShard = time.Now().Add(p.discover(ctx, tasks))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *Publisher) known() []*shard {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shards
}

func interval(s *shard) time.Duration {
	if err, suffers := s.state(); err != nil || suffers {
		return troubledEvery
	}
	return watchEvery
}

// ask refreshes what is known about a shard.
func (p *Publisher) ask(ctx context.Context, s *shard) {
	s.asking()
	info, asked, err := p.info(ctx, s.number)
	switch {
	case err == nil:
		s.learn(info, asked, time.Now())
		if s.driver.idle() {
			s.forgive()
		}
	case errors.Is(err, jetstream.ErrStreamNotFound):
		s.gone()
	case ctx.Err() == nil:
		s.failed()
	}
}

func (p *Publisher) info(ctx context.Context, number int) (*jetstream.StreamInfo, time.Time, error) {
	wait := infoWait
	if len(p.known()) == 0 {
		wait = firstWait
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	asked := time.Now()
	st, err := p.js.Stream(ctx, stream.StreamName(number))
	if err != nil {
		return nil, asked, err
	}
	return st.CachedInfo(), asked, nil
}

// lookAhead is how many numbers after the last known shard are asked for: a hole in the shards hides none that is nearer.
const lookAhead = 8

// discover adds the shards that are not known yet, each with its driver, and says when to look again.
func (p *Publisher) discover(ctx context.Context, tasks *sync.WaitGroup) time.Duration {
	found := true
	for found && ctx.Err() == nil { // beyond what is found there may be more
		var asking sync.WaitGroup
		fresh := make([]*shard, p.askedUpTo())
		for number := range fresh {
			if !p.knows(number) {
				asking.Go(func() { fresh[number] = p.meet(ctx, number) })
			}
		}
		asking.Wait()
		found = false
		for _, s := range fresh {
			if s != nil {
				found = true
				p.add(s)
				tasks.Go(func() { s.driver.run(ctx) })
			}
		}
	}
	if len(p.known()) == 0 {
		return troubledEvery
	}
	return watchEvery
}

// askedUpTo is the number before which shards are looked for.
func (p *Publisher) askedUpTo() int {
	last := -1
	if known := p.known(); len(known) > 0 {
		last = known[len(known)-1].number
	}
	return min(last+1+lookAhead, stream.MaxShards)
}

func (p *Publisher) knows(number int) bool {
	return slices.ContainsFunc(p.known(), func(s *shard) bool { return s.number == number })
}

// meet makes a shard of a stream that is there, nil when none answers.
func (p *Publisher) meet(ctx context.Context, number int) *shard {
	info, asked, err := p.info(ctx, number)
	if err != nil {
		return nil
	}
	s := &shard{number: number, logger: p.logger, metrics: p.metrics, allow: p.cfg.AllowUnsynced}
	s.driver = newDriver(p, s)
	s.learn(info, asked, time.Now())
	return s
}

// add keeps the shards in the order of their numbers. Whoever has read them before keeps what he has.
func (p *Publisher) add(s *shard) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shards = append(slices.Clone(p.shards), s)
	slices.SortFunc(p.shards, func(a, b *shard) int { return cmp.Compare(a.number, b.number) })
}
