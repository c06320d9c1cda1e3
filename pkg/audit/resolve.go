package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/audit/acks"
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
	var lost []record
	for _, r := range a.absentees {
		explained, err := a.explained(ctx, r)
		if err != nil {
			return err
		}
		if !explained {
			lost = append(lost, r)
		}
	}
	a.absentees = a.absentees[:0]
	if len(lost) == 0 {
		return nil
	}
	lost, err := a.lookAgain(ctx, lost)
	if err != nil || len(lost) == 0 || a.options.Repair == nil {
		a.missing(lost, nil)
		return err
	}
	return a.repair(ctx, lost)
}

// explained says whether the mail is a dead letter, or was decided about.
func (a *auditor) explained(ctx context.Context, r record) (bool, error) {
	died, err := a.Dead.Has(ctx, r.id)
	if err != nil {
		return false, err
	}
	if died {
		a.report.Dead++
		a.ack(r.id, acks.Dead, r.sha)
		return true, nil
	}
	stone, err := a.Stones.Find(ctx, r.id)
	if errors.Is(err, tombstone.ErrNotFound) {
		return false, nil
	}
	if err == nil {
		a.decided(r, stone)
	}
	return true, err
}

// lookAgain returns the mails that the database still lacks.
func (a *auditor) lookAgain(ctx context.Context, records []record) (lost []record, err error) {
	ids := make([]ulid.ULID, len(records))
	for i, r := range records {
		ids[i] = r.id
	}
	sum, err := a.DB.SumOf(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("reading the database: %w", err)
	}
	if sum.Mails == 0 {
		return records, nil
	}
	for _, r := range records {
		there, err := a.there(ctx, r)
		if err != nil {
			return nil, err
		}
		if !there {
			lost = append(lost, r)
		}
	}
	return lost, nil
}

// repair stores mails again, and believes it when the database has them.
func (a *auditor) repair(ctx context.Context, lost []record) error {
	places := make([]Place, len(lost))
	for i, r := range lost {
		places[i] = r.place()
	}
	slices.SortFunc(places, func(x, y Place) int { // so that each message is read once
		return cmp.Or(cmp.Compare(x.Shard, y.Shard), cmp.Compare(x.Sequence, y.Sequence), cmp.Compare(x.Index, y.Index))
	})
	failed := a.options.Repair(ctx, places)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	still := lost
	onlyLog := a.onlyLog
	a.onlyLog = true
	same, err := a.same(ctx, ulid.ULID{}, ulid.ULID{}, lost)
	a.onlyLog = onlyLog
	switch {
	case err != nil:
		return fmt.Errorf("reading the database: %w", err)
	case same:
		still = nil
		err = a.whole(ctx, lost, a.options.SkipLists)
	default:
		still, err = a.lookAgain(ctx, lost)
	}
	if err != nil {
		return err
	}
	a.report.Repaired += int64(len(lost) - len(still))
	for _, r := range lost {
		if len(a.report.Problems) < maxRepaired && !slices.ContainsFunc(still, func(s record) bool { return s.id == r.id }) {
			a.report.problem(r.id, "repaired: it was missing, and is stored again")
		}
	}
	if len(still) > 0 && failed == nil {
		failed = errors.New("it was stored again and is not there")
	}
	a.missing(still, failed)
	return nil
}

// maxRepaired bounds the repaired mails that are named.
const maxRepaired = 20

// there looks once more whether the database has the mail.
func (a *auditor) there(ctx context.Context, r record) (found bool, err error) {
	good := false
	err = a.DB.IDs(ctx, r.id, r.id, func(row mailstore.Row) error {
		found, good = true, a.verify(r, row)
		return nil
	})
	if err == nil && good {
		err = a.whole(ctx, []record{r}, a.options.SkipLists)
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
	a.ack(r.id, acks.Decided, r.sha)
}

func (a *auditor) missing(lost []record, failed error) {
	what := "missing: in the log and settled, but neither in the database nor a dead letter"
	if failed != nil {
		what += "; storing it again failed: " + failed.Error()
	}
	for _, r := range lost {
		a.report.Missing++
		a.report.problem(r.id, what)
	}
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
	gone := loss{Bounds: lost, created: state.Created, what: "the log has lost these messages, and it is not known which mail was in them"}
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
