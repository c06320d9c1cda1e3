package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/tombstone"
)

// loss is a range of messages that a stream had and that are gone without having been purged.
type loss struct {
	stream.Bounds
	// created is when the stream that lost them was created. found is when it was noticed that the stream had become shorter;
	// it is zero when the whole stream no longer exists, and for a gap in the middle of a stream.
	created, found time.Time
	what           string
}

// without is what accepted ranges leave of the loss.
func (l loss) without(accepted []tombstone.Gap) (gaps []Gap) {
	meant := slices.DeleteFunc(slices.Clone(accepted), func(a tombstone.Gap) bool {
		return !a.Created.Equal(l.created) || !a.Found.Equal(l.found)
	})
	for _, b := range without(l.Bounds, meant) {
		gaps = append(gaps, Gap{stream.StreamName(b.Shard), b.From, b.To, l.what})
	}
	return gaps
}

// losses are what the streams of one shard have lost at their ends, and by having been removed; now is the one that is there,
// nil for none.
func (l *ledger) losses(shard int, now *stream.ShardState) (all []loss) {
	whole := func(t Tally, what string) {
		if t.To < t.Seen {
			all = append(all, loss{stream.Bounds{Shard: shard, From: t.To + 1, To: t.Seen}, t.Created, time.Time{}, what})
		}
	}
	if now != nil {
		t := l.of(*now)
		t.look(*now, time.Now())
		for _, lost := range t.Lost {
			all = append(all, loss{stream.Bounds{Shard: shard, From: lost.From, To: lost.To}, t.Created, lost.Found,
				"the log is shorter than it was: it has lost these messages, and uses their sequences again"})
		}
	}
	for _, t := range l.tallies {
		switch made := t.Created.Format(time.DateTime); {
		case t.Stream != stream.StreamName(shard):
		case now == nil:
			whole(t, fmt.Sprintf("the stream created on %s no longer exists; its messages from here on were never purged", made))
		case !t.Created.Equal(now.Created):
			whole(t, fmt.Sprintf("the stream was created again on %s; the messages of the stream of %s from here on were never purged", now.Created.Format(time.DateTime), made))
		}
	}
	return all
}

// LostStreams returns what streams have lost, and no operator has accepted: messages at their end, or all of them because
// the stream was deleted, or deleted and created again. until is when this happened last, accepted or not, as far as it is known:
// the log need not have older mail.
func LostStreams(ctx context.Context, nc *nats.Conn) (gaps []Gap, until time.Time, err error) {
	l, err := openLedger(ctx, nc)
	if err != nil {
		return nil, until, err
	}
	shards, unanswered, err := l.shards(ctx, nc)
	if err != nil {
		return nil, until, err
	}
	for shard, state := range shards {
		accepted, err := tombstone.New(nc).Gaps(ctx, shard)
		if err != nil {
			return gaps, until, err
		}
		for _, lost := range l.losses(shard, state) {
			when := time.Now()
			if !lost.found.IsZero() {
				when = lost.found
			} else if state != nil {
				when = state.Created
			}
			if when.After(until) {
				until = when
			}
			gaps = append(gaps, lost.without(accepted)...)
		}
	}
	slices.SortFunc(gaps, func(a, b Gap) int { return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.From, b.From)) })
	return gaps, until, unanswered
}

// shards are the shards that are there, with their state, and those there was a tally of, without one. unanswered names those
// that may be there and did not say.
func (l *ledger) shards(ctx context.Context, nc *nats.Conn) (all map[int]*stream.ShardState, unanswered, err error) {
	states, err := stream.NewReader(nc).States(ctx)
	silent, partial := errors.AsType[stream.Unanswered](err)
	if err != nil && !partial && !errors.Is(err, stream.ErrNoShards) {
		return nil, nil, err
	}
	all = make(map[int]*stream.ShardState)
	for _, t := range l.tallies {
		if shard, ok := stream.Shard(t.Stream); ok {
			all[shard] = nil
		}
	}
	for _, e := range silent {
		delete(all, e.Shard)
		unanswered = silent
	}
	for i := range states {
		all[states[i].Shard] = &states[i]
	}
	return all, unanswered, nil
}

// ErrNothingLost: there is nothing to accept.
var ErrNothingLost = errors.New("the log has lost nothing there")

// Accept records that an operator accepts the messages of a range that the log has lost by now, and returns how many these are.
// Messages that are lost there later are not covered.
func Accept(ctx context.Context, nc *nats.Conn, b stream.Bounds, why tombstone.Stone) (messages uint64, err error) {
	l, err := openLedger(ctx, nc)
	if err != nil {
		return 0, err
	}
	shards, unanswered, err := l.shards(ctx, nc)
	if err = errors.Join(err, unanswered); err != nil {
		return 0, err
	}
	state := shards[b.Shard]
	if state != nil { // what is noticed now has to be known afterwards
		if t := l.of(*state); t.look(*state, time.Now()) {
			if err := l.save(ctx, &t); err != nil {
				return 0, err
			}
			l.keep(t)
		}
	}
	losses := l.losses(b.Shard, state)
	if state != nil {
		inside, err := midst(ctx, nc, *state, b)
		if err != nil {
			return 0, err
		}
		losses = append(losses, inside...)
	}
	for _, lost := range losses {
		both := stream.Bounds{Shard: b.Shard, From: max(b.From, lost.From), To: min(b.To, lost.To)}
		if both.From > both.To {
			continue
		}
		if err := tombstone.New(nc).PutGap(ctx, tombstone.Gap{Bounds: both, Created: lost.created, Found: lost.found, Stone: why}); err != nil {
			return messages, err
		}
		messages += both.To - both.From + 1
	}
	if messages == 0 {
		return 0, fmt.Errorf("%w: %s from %d to %d", ErrNothingLost, stream.StreamName(b.Shard), b.From, b.To)
	}
	return messages, nil
}

// midst are the gaps of a range in the midst of a stream.
func midst(ctx context.Context, nc *nats.Conn, s stream.ShardState, b stream.Bounds) (losses []loss, err error) {
	b.From, b.To = max(b.From, s.First), min(b.To, s.Last)
	if b.From > b.To {
		return nil, nil
	}
	gaps, err := stream.NewReader(nc).Gaps(ctx, b)
	for _, g := range gaps {
		losses = append(losses, loss{Bounds: g, created: s.Created})
	}
	return losses, err
}
