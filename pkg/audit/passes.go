package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/audit/internal/recall"
	"github.com/sluice-mail/sluice/pkg/stream"
)

// due is a shard some of which was settled and is not audited yet.
type due struct {
	state   stream.ShardState
	tally   Tally
	settled uint64
}

// bounds is what is to be audited of it.
func (d *due) bounds() stream.Bounds {
	return stream.Bounds{Shard: d.state.Shard, From: max(d.tally.Audited+1, d.state.First), To: d.settled}
}

// ahead audits what was settled since the last time, all shards together: the database has their mail in one order.
// What the log had at seen is all in states.
func (p *Periodic) ahead(ctx context.Context, l *ledger, states []stream.ShardState, seen time.Time, errs *[]error) (unaccounted int64) {
	var all []*due
	for _, s := range states {
		d, err := p.due(ctx, l, s)
		if err != nil {
			*errs = append(*errs, err)
			continue // a shard that does not answer stops only itself
		}
		all = append(all, d)
	}
	for {
		n, more, err := p.pass(ctx, l, all, seen)
		unaccounted += n
		*errs = append(*errs, err)
		if !more || err != nil {
			return unaccounted
		}
	}
}

func (p *Periodic) due(ctx context.Context, l *ledger, s stream.ShardState) (*due, error) {
	t := l.of(s)
	if t.look(s, time.Now()) {
		if err := l.save(ctx, &t); err != nil {
			return nil, err
		}
	}
	settled, err := p.reader.SettledUpTo(ctx, s.Shard, stream.Storer)
	if err != nil {
		return nil, err
	}
	was := t.Audited
	if err := p.goneBack(ctx, &t, s.First); err != nil {
		return nil, err
	}
	if t.Audited < was {
		if err := l.save(ctx, &t); err != nil {
			return nil, err
		}
	}
	return &due{s, t, min(settled, s.Last)}, nil
}

// pass audits some of it, and notes in the tallies up to where; more says that this is not all.
func (p *Periodic) pass(ctx context.Context, l *ledger, all []*due, seen time.Time) (unaccounted int64, more bool, err error) {
	next := make(map[int]recall.Position)
	var bounds []stream.Bounds
	if slices.ContainsFunc(all, func(d *due) bool { return d.settled < d.state.Last }) {
		seen = time.Time{} // there is more than will be read
	}
	for _, d := range all {
		next[d.state.Shard] = recall.Position{Created: d.state.Created, Sequence: d.tally.Audited + 1}
		if b := d.bounds(); b.From <= b.To {
			bounds = append(bounds, b)
		}
	}
	if len(bounds) == 0 {
		return 0, false, nil
	}
	p.memory.Lock()
	defer p.memory.Unlock()
	p.memory.Follow(next)
	a := &ahead{Memory: &p.memory, size: stepMails, asOf: seen, auditor: auditor{Sources: p.sources, options: p.options(), started: time.Now()}}
	silent, err := a.run(ctx, bounds)
	if err != nil {
		p.memory.Begin(nil)
		return 0, false, err
	}
	var read []stream.Bounds
	for _, d := range all {
		b := d.bounds()
		b.To = p.memory.Next[b.Shard].Sequence - 1
		if b.To < b.From {
			continue
		}
		read = append(read, b)
		more = more || b.To < d.settled
		if err := l.audited(ctx, &d.tally, b.To, a.report); err != nil {
			p.memory.Begin(nil)
			return 0, false, err
		}
	}
	return p.tell(a.report, read...), more, errors.Join(silent...)
}

// audited notes up to where a stream was audited. It may have been purged meanwhile, by this process.
func (l *ledger) audited(ctx context.Context, t *Tally, upTo uint64, r Report) error {
	now, err := l.read(ctx, t.key())
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		now = *t
	case err != nil:
		return err
	case now.Audited < t.Audited:
		return fmt.Errorf("%s is to be audited again from %d on", t.Stream, now.Audited+1)
	}
	now.Marks = t.Marks // goneBack has looked through them
	now.Audited = max(now.Audited, upTo)
	now.mark(upTo, r.last)
	if err := l.save(ctx, &now); err != nil {
		return err
	}
	*t = now
	return nil
}
