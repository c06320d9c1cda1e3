package audit

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

// Mark is a mail that an audit found stored, and up to where it had come then.
type Mark struct {
	Sequence uint64    `json:"sequence"`
	ID       ulid.ULID `json:"id"`
}

const (
	// maxMarks are kept of a stream: of the last rounds all, of those before ever fewer.
	maxMarks = 64
	// marksBack is how many marks before the first one that is missing is gone back to: mail is not committed in the order
	// of the log.
	marksBack = 3
)

// mark notes a mail that is stored.
func (t *Tally) mark(sequence uint64, id ulid.ULID) {
	if id.IsZero() {
		return
	}
	t.Marks = append(t.Marks, Mark{sequence, id})
	if len(t.Marks) <= maxMarks {
		return
	}
	thin := t.Marks[:0]
	for i, m := range t.Marks {
		if i >= maxMarks/2 || i%2 == 0 {
			thin = append(thin, m)
		}
	}
	t.Marks = thin
}

// goneBack has the mail of a stream audited again that the database may have lost by going back in time: it was restored from a
// dump, or a failover lost its last commits. The marks tell where it was.
func (p *Periodic) goneBack(ctx context.Context, t *Tally, first uint64) error {
	oldest := uint32(0)
	if o := p.options(); o.Retention > 0 {
		oldest = mailstore.Day(mailstore.IDAt(time.Now().Add(-o.Retention)))
	}
	t.Marks = slices.DeleteFunc(t.Marks, func(m Mark) bool { return m.Sequence > t.Audited || mailstore.Day(m.ID) <= oldest })
	ids := make([]ulid.ULID, len(t.Marks))
	for i, m := range t.Marks {
		ids[i] = m.ID
	}
	slices.SortFunc(ids, ulid.ULID.Compare)
	ids = slices.Compact(ids)
	sum, err := p.sources.DB.SumOf(ctx, ids)
	if err != nil || sum.Mails == int64(len(ids)) {
		return err
	}
	missing := -1
	for i, m := range t.Marks {
		sum, err := p.sources.DB.SumOf(ctx, []ulid.ULID{m.ID})
		if err != nil {
			return fmt.Errorf("looking for a mail that was stored: %w", err)
		}
		if sum.Mails == 0 {
			missing = i
			break
		}
	}
	if missing < 0 {
		return nil // it came back meanwhile
	}
	from := uint64(0)
	if i := missing - marksBack; i >= 0 {
		from = t.Marks[i].Sequence
	}
	p.logger.Error("the database no longer has mail that it had (a restored dump, or a failover that lost commits?); the mail it may have lost is audited again",
		"stream", t.Stream, "from", max(from+1, first), "to", t.Audited)
	t.Audited, t.Marks = min(from, t.Audited), t.Marks[:max(missing-marksBack, 0)]
	return nil
}
