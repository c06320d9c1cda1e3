package audit

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/audit/acks"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
)

// broken is a world some of which does not answer.
type broken struct {
	*world
	shard, state, heads, letters, rows, lines bool
}

var errAway = errors.New("no answer")

func (b broken) Snapshot(ctx context.Context, since time.Time) ([]stream.Bounds, error) {
	all, err := b.world.Snapshot(ctx, since)
	if b.shard {
		return all[:1], stream.Unanswered{{Shard: 1, Err: errAway}}
	}
	return all, err
}

func (b broken) SettledUpTo(ctx context.Context, shard int, consumer string) (uint64, error) {
	if b.state && shard == 1 {
		return 0, errAway
	}
	return b.world.SettledUpTo(ctx, shard, consumer)
}

func (b broken) Digests(ctx context.Context, bounds stream.Bounds, fn func(*stream.Outline) error) error {
	return b.Outlines(ctx, bounds, fn)
}

func (b broken) Outlines(ctx context.Context, bounds stream.Bounds, fn func(*stream.Outline) error) error {
	if b.heads && bounds.Shard == 1 {
		bounds.To /= 2
		if err := b.world.Outlines(ctx, bounds, fn); err != nil {
			return err
		}
		return errAway
	}
	return b.world.Outlines(ctx, bounds, fn)
}

func (b broken) Refresh(ctx context.Context) error {
	if b.letters {
		return errAway
	}
	return b.world.Refresh(ctx)
}

func (b broken) IDs(ctx context.Context, from, to ulid.ULID, fn func(mailstore.Row) error) error {
	if b.rows {
		return errAway
	}
	return b.world.IDs(ctx, from, to, fn)
}

func (b broken) Sum(ctx context.Context, from, to ulid.ULID) (mailstore.Sum, error) {
	if b.rows {
		return mailstore.Sum{}, errAway
	}
	return b.world.Sum(ctx, from, to)
}

func (b broken) SumOf(ctx context.Context, ids []ulid.ULID) (mailstore.Sum, error) {
	if b.rows {
		return mailstore.Sum{}, errAway
	}
	return b.world.SumOf(ctx, ids)
}

func (b broken) SumLines(ctx context.Context, from, to ulid.ULID) (mailstore.LineSum, error) {
	if b.lines {
		return mailstore.LineSum{}, errAway
	}
	return b.world.SumLines(ctx, from, to)
}

func (b broken) Lines(ctx context.Context, lines []mailstore.Line) (int, error) {
	if b.lines {
		return 0, errAway
	}
	return b.world.Lines(ctx, lines)
}

// What does not answer is named, it makes no mail missing or extra, and what does answer is audited all the same.
func TestWhatDoesNotAnswerIsNotKnown(t *testing.T) {
	for name, tt := range map[string]struct {
		broken
		stored int64 // of 10 mails in shard 0 and 20 in shard 1
	}{
		"a shard":              {broken{shard: true}, 10},
		"a shard's consumer":   {broken{state: true}, 10},
		"the middle of a walk": {broken{heads: true}, 20},
		"the dead letters":     {broken{letters: true}, 30},
		"the database":         {broken{rows: true}, 0},
		"the mailboxes":        {broken{lines: true}, 0},
	} {
		w := newWorld(2)
		recorded := new(acks.Acks)
		for i := range 30 {
			id := w.accept(min(i%3, 1), true)
			recorded.Add(id, shaOf(id))
		}
		waiting := w.accept(1, false) // in the shard that may not answer
		recorded.Add(waiting, shaOf(waiting))
		w.settled[1]--
		tt.world = w
		if tt.letters { // which are asked for only when a mail is not in the database
			w.accept(0, false)
		}
		r, err := Run(t.Context(), Sources{tt, tt, tt, stones{w}}, Options{Acks: recorded})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.NotKnown) == 0 || !strings.Contains(strings.Join(r.NotKnown, " "), errAway.Error()) {
			t.Errorf("%s does not answer, and not known is %q", name, r.NotKnown)
		}
		if r.Unaccounted() != 0 || r.Extra != 0 || r.Stored != tt.stored {
			t.Errorf("%s does not answer: %+v, %+v", name, r, *r.Acks)
		}
	}
}
