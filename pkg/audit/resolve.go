package audit

import (
	"context"
	"errors"
	"fmt"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/tombstone"
)

// resolve says what became of the mails that are settled and were not in the database. They are few, so only they are looked
// up in the other places; and last in the database again, because a dead letter may have been retried meanwhile.
func (a *auditor) resolve(ctx context.Context) error {
	if len(a.absentees) == 0 {
		return nil
	}
	if err := a.Dead.Refresh(ctx); err != nil {
		return err
	}
	for _, r := range a.absentees {
		if err := a.resolveOne(ctx, r); err != nil {
			return err
		}
	}
	a.absentees = a.absentees[:0]
	return nil
}

func (a *auditor) resolveOne(ctx context.Context, r record) error {
	died, err := a.Dead.Has(ctx, r.id)
	if err != nil {
		return err
	}
	if died {
		a.report.Dead++
		a.ack(r.id, ackDead, r.sha)
		return nil
	}
	stone, err := a.Stones.Find(ctx, r.id)
	if err == nil {
		a.decided(r, stone)
		return nil
	}
	if !errors.Is(err, tombstone.ErrNotFound) {
		return err
	}
	there, err := a.there(ctx, r)
	if there || err != nil {
		return err
	}
	if a.options.Repair == nil {
		a.missing(r, nil)
		return nil
	}
	if err := a.options.Repair(ctx, Place{r.shard, r.sequence, r.index}); err != nil {
		a.missing(r, err)
		return ctx.Err()
	}
	if there, err = a.there(ctx, r); there {
		a.report.Repaired++
		a.report.problem(r.id, "repaired: it was missing, and is stored again")
	} else if err == nil {
		a.missing(r, errors.New("it was stored again and is not there"))
	}
	return err
}

// there looks once more whether the database has the mail.
func (a *auditor) there(ctx context.Context, r record) (found bool, err error) {
	good := false
	err = a.DB.IDs(ctx, r.id, r.id, func(row mailstore.Row) error {
		found, good = true, a.verify(r, row)
		return nil
	})
	if err == nil && good {
		err = a.whole(ctx, []record{r})
	}
	if err != nil {
		err = fmt.Errorf("reading the database: %w", err)
	}
	return found, err
}

// decided: an operator, or a reader, has said that the mail is not to be there.
func (a *auditor) decided(r record, stone tombstone.Stone) {
	switch stone.What {
	case tombstone.Dropped:
		a.report.Dropped++
	case tombstone.Erased:
		a.report.Erased++
	default:
		a.report.Accepted++
	}
	a.ack(r.id, ackDecided, r.sha)
}

func (a *auditor) missing(r record, failed error) {
	what := "missing: in the log and settled, but neither in the database nor a dead letter"
	if failed != nil {
		what += "; storing it again failed: " + failed.Error()
	}
	a.report.Missing++
	a.report.problem(r.id, what)
}

// gap: the log has lost these sequences. What an operator has accepted of them is no alarm any more.
func (a *auditor) gap(ctx context.Context, lost stream.Bounds) error {
	accepted, err := a.Stones.Gaps(ctx, lost.Shard)
	if err != nil {
		return err
	}
	state, err := a.Log.State(ctx, lost.Shard)
	if err != nil {
		return err
	}
	gone := loss{Bounds: lost, created: state.Created, what: "the log has lost these messages, and what mail was in them is not known"}
	a.report.Gaps = append(a.report.Gaps, gone.without(accepted)...)
	return nil
}

// without is what accepted ranges leave of one.
func without(lost stream.Bounds, accepted []tombstone.Gap) []stream.Bounds {
	left := []stream.Bounds{lost}
	for _, a := range accepted {
		var next []stream.Bounds
		for _, b := range left {
			if a.To < b.From || a.From > b.To {
				next = append(next, b)
				continue
			}
			if b.From < a.From {
				next = append(next, stream.Bounds{Shard: b.Shard, From: b.From, To: a.From - 1})
			}
			if a.To < b.To {
				next = append(next, stream.Bounds{Shard: b.Shard, From: a.To + 1, To: b.To})
			}
		}
		left = next
	}
	return left
}
