package audit

import (
	"context"
	"errors"
	"fmt"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/audit/acks"
	"github.com/sluice-mail/sluice/pkg/audit/internal/recall"
	"github.com/sluice-mail/sluice/pkg/mailstore"
)

const (
	// compareMails are held against the database at once: when their sums differ, so many rows are read.
	compareMails = 10_000
	// linesAtOnce is how many lines of mailboxes are asked for at once.
	linesAtOnce = 2000
)

// compare holds the records, in order of id, against what the database has from low to high. As long as all is well only sums
// are compared, and no row is read: neither of mails nor of the lists of mailboxes.
func (a *auditor) compare(ctx context.Context, low, high ulid.ULID, records []record) error {
	low, err := a.older(ctx, low, high, records)
	if err != nil {
		return fmt.Errorf("reading the database: %w", err)
	}
	return a.span(ctx, low, high, records)
}

// compareAll compares mails, no packs.
func (a *auditor) compareAll(ctx context.Context, low, high ulid.ULID, records []record) error {
	for more := true; more; {
		some, to := records, high
		if more = len(records) > compareMails; more {
			some, to = records[:compareMails], before(records[compareMails].id)
		}
		if err := a.compareSome(ctx, low, to, some); err != nil {
			return err
		}
		if more {
			low, records = records[compareMails].id, records[compareMails:]
		}
	}
	return nil
}

func (a *auditor) compareSome(ctx context.Context, low, high ulid.ULID, records []record) error {
	same, err := a.same(ctx, low, high, records)
	listed := a.options.SkipLists
	switch {
	case err == nil && !same:
		records, err = a.walk(ctx, low, high, records)
	case err == nil:
		for i := range records {
			a.count(&records[i])
		}
		if !listed && !a.onlyLog {
			listed, err = a.listed(ctx, low, high, records)
		}
	}
	if err == nil {
		err = a.whole(ctx, records, listed)
	}
	if err != nil {
		return fmt.Errorf("reading the database: %w", err)
	}
	return a.resolve(ctx)
}

// older counts the rows of mail that the log has let go, up to the first that it may have, and returns where that begins. With
// recorded replies each row is looked at.
func (a *auditor) older(ctx context.Context, low, high ulid.ULID, records []record) (ulid.ULID, error) {
	limit := mailstore.IDAt(a.floor.Add(Slack))
	if len(records) > 0 && records[0].id.Compare(limit) < 0 {
		limit = records[0].id
	}
	if a.onlyLog || a.options.Acks != nil || a.floor.IsZero() || limit.Compare(low) <= 0 || limit.Compare(high) > 0 {
		return low, nil
	}
	sum, err := a.DB.Sum(ctx, low, before(limit))
	a.report.Purged += sum.Mails
	return limit, err
}

// same says whether the database has these mails as they are, and no others from low to high.
func (a *auditor) same(ctx context.Context, low, high ulid.ULID, records []record) (bool, error) {
	var want recall.Range
	var got mailstore.Sum
	var err error
	for i := range records {
		records[i].addTo(&want)
	}
	if a.onlyLog {
		ids := make([]ulid.ULID, len(records))
		for i, r := range records {
			ids[i] = r.id
		}
		got, err = a.DB.SumOf(ctx, ids)
	} else {
		got, err = a.DB.Sum(ctx, low, high)
	}
	return got == want.Mails, err
}

// listed says whether the mailboxes list these mails, and no others from low to high.
func (a *auditor) listed(ctx context.Context, low, high ulid.ULID, records []record) (bool, error) {
	var want recall.Range
	for i := range records {
		records[i].addTo(&want)
	}
	got, err := a.DB.SumLines(ctx, low, high)
	return got == want.Lines, err
}

// walk looks at records and rows side by side, both in order of id, and returns the records that are stored as they are.
func (a *auditor) walk(ctx context.Context, low, high ulid.ULID, records []record) (stored []record, err error) {
	next := 0
	err = a.DB.IDs(ctx, low, high, func(row mailstore.Row) error {
		for next < len(records) && records[next].id.Compare(row.ID) < 0 {
			a.absent(records[next])
			next++
		}
		if next < len(records) && records[next].id == row.ID {
			a.count(&records[next])
			if a.verify(records[next], row) {
				stored = append(stored, records[next])
			}
			next++
		} else if !a.onlyLog {
			a.extra(row)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, r := range records[next:] {
		a.absent(r)
	}
	return stored, nil
}

// whole looks at what there is beside the rows of mails that are stored: their lines in mailboxes, unless they are known to be
// listed, and, when asked to, their bytes.
func (a *auditor) whole(ctx context.Context, records []record, listed bool) error {
	bad := make(map[ulid.ULID]bool)
	if a.options.Deep {
		rows := make([]mailstore.Row, len(records))
		for i, r := range records {
			rows[i] = r.row()
		}
		damaged, err := a.DB.Damaged(ctx, rows)
		if err != nil {
			return err
		}
		for _, id := range damaged {
			bad[id] = true
			a.wrong(id, "the stored bytes are damaged")
		}
	}
	for rest := records; len(rest) > 0 && !listed; {
		n, lines := 0, 0
		for n < len(rest) && (n == 0 || lines+len(rest[n].boxes) <= linesAtOnce) {
			lines += len(rest[n].boxes)
			n++
		}
		unlisted, err := a.unlisted(ctx, rest[:n])
		if err != nil {
			return err
		}
		for _, r := range unlisted {
			if !bad[r.id] && !a.expired(r.id) { // what expires is dropped from the lists first
				bad[r.id] = true
				a.list(ctx, r)
			}
		}
		rest = rest[n:]
	}
	for _, r := range records {
		if !bad[r.id] {
			a.stored(r)
		}
	}
	return nil
}

// unlisted are those of the records that a mailbox of theirs does not list.
func (a *auditor) unlisted(ctx context.Context, records []record) ([]record, error) {
	var lines []mailstore.Line
	for _, r := range records {
		for _, box := range r.boxes {
			lines = append(lines, mailstore.Line{Mbox: box, ID: r.id})
		}
	}
	n, err := a.DB.Lines(ctx, lines)
	switch {
	case err != nil || n == len(lines):
		return nil, err
	case len(records) == 1:
		return records, nil
	}
	first, err := a.unlisted(ctx, records[:len(records)/2])
	if err != nil {
		return nil, err
	}
	second, err := a.unlisted(ctx, records[len(records)/2:])
	return append(first, second...), err
}

// list stores a mail again that a mailbox does not list.
func (a *auditor) list(ctx context.Context, r record) {
	why := errors.New("unlisted: in the database, but missing from the list of a mailbox that it was sent to")
	if a.options.Repair != nil {
		if err := a.options.Repair(ctx, []Place{r.place()}); err != nil {
			why = fmt.Errorf("%w; storing it again failed: %w", why, err)
		} else if still, err := a.unlisted(ctx, []record{r}); err == nil && len(still) == 0 {
			a.report.Repaired++
			a.report.problem(r.id, "repaired: a mailbox did not list it, and does again")
			a.stored(r)
			return
		}
	}
	a.report.Unlisted++
	a.report.problem(r.id, why.Error())
	a.ack(r.id, acks.Wrong, [32]byte{})
}

// before is the largest id that is smaller.
func before(id ulid.ULID) ulid.ULID {
	for i := len(id) - 1; i >= 0; i-- {
		if id[i]--; id[i] != 0xff {
			break
		}
	}
	return id
}
