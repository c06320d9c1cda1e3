package publish

import (
	"context"
	"errors"
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
// ingress has no right to list streams.
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

// discover adds the shards after the last known one, each with its driver, and says when to look again.
func (p *Publisher) discover(ctx context.Context, tasks *sync.WaitGroup) time.Duration {
	for {
		number := len(p.known())
		if number >= stream.MaxShards {
			return watchEvery
		}
		info, asked, err := p.info(ctx, number)
		if err != nil {
			if number == 0 {
				return troubledEvery
			}
			return watchEvery
		}
		s := &shard{number: number, logger: p.logger, metrics: p.metrics, allow: p.cfg.AllowUnsynced}
		s.driver = newDriver(p, s)
		s.learn(info, asked, time.Now())
		p.mu.Lock()
		p.shards = append(p.shards[:number:number], s)
		p.mu.Unlock()
		tasks.Go(func() { s.driver.run(ctx) })
	}
}
