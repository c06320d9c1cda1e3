package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/audit/acks"
	"github.com/sluice-mail/sluice/pkg/audit/internal/merge"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/tombstone"
)

// Slack bounds the difference between the time in an id and the time at which the log took the mail. Publishing is retried for
// a minute, and an ingress whose clock is off by more than a minute accepts no mail.
const Slack = 3 * time.Minute

// windowMails is how many mails are read before a window is compared. The mails of the last Slack are held in addition.
const windowMails = 50_000

// Log is the part of stream.Reader an audit needs.
type Log interface {
	Snapshot(ctx context.Context, since time.Time) ([]stream.Bounds, error)
	Outlines(ctx context.Context, b stream.Bounds, fn func(*stream.Outline) error) error
	Digests(ctx context.Context, b stream.Bounds, fn func(*stream.Outline) error) error
	Gaps(ctx context.Context, b stream.Bounds) ([]stream.Bounds, error)
	State(ctx context.Context, shard int) (stream.ShardState, error)
	SettledUpTo(ctx context.Context, shard int, consumer string) (uint64, error)
}

// Dead says which mails are dead letters; dead.Index is one.
type Dead interface {
	Refresh(ctx context.Context) error
	Has(ctx context.Context, id ulid.ULID) (bool, error)
}

// Database is the part of a mailstore.Store an audit needs.
type Database interface {
	IDs(ctx context.Context, from, to ulid.ULID, fn func(mailstore.Row) error) error
	mailstore.Checker
}

// Stones is the part of tombstone.Stones an audit needs.
type Stones interface {
	Find(ctx context.Context, id ulid.ULID) (tombstone.Stone, error)
	Gaps(ctx context.Context, shard int) ([]tombstone.Gap, error)
}

// Sources are what an audit compares.
type Sources struct {
	Log    Log      // the streams with mail
	Dead   Dead     // the dead letters
	DB     Database // the stored mail
	Stones Stones   // the decisions of operators
}

// Options says what to audit.
type Options struct {
	// Since bounds by the time of acceptance; zero is everything the log has.
	Since time.Time
	// LostUntil is when the log last lost a whole stream, zero if it never did; see LostStreams.
	LostUntil time.Time
	// Deep also reads and hashes the bytes of every stored mail.
	Deep bool
	// SkipLists does not check whether the mailboxes list the mail.
	SkipLists bool
	// Retention of the database: older mail may be absent. 0: no mail expires.
	Retention time.Duration
	// Acks are recorded replies to look up in log and database, nil for none.
	Acks *acks.Acks
	// Repair, when set, stores missing mails again. Afterwards the database is asked for all of them, even if Repair failed.
	Repair func(ctx context.Context, places []Place) error
	// Progress, when set, is called after each window with the number of mails so far.
	Progress func(mails int64)
}

// Place is where a mail is in the log: its shard, the sequence of its message, and its index, from 0, in that message.
type Place struct {
	Shard    int
	Sequence uint64
	Index    int
}

var errStop = errors.New("stop")

// Run audits. What could not be read is in Report.NotKnown. The only error is that ctx has ended.
func Run(ctx context.Context, from Sources, o Options) (Report, error) {
	a := &auditor{Sources: from, options: o, started: time.Now()}
	if err := a.all(ctx); err != nil {
		a.report.notKnown(err)
	}
	if o.Acks != nil {
		report, err := o.Acks.Finish(ctx, from.DB, len(a.report.NotKnown) == 0, func(id ulid.ULID, what string) {
			a.report.Problems = append(a.report.Problems, Problem{ID: id, What: what})
		})
		if err != nil {
			a.report.notKnown(err)
		}
		a.report.Acks = &report
	}
	return a.report, ctx.Err()
}

// all compares everything. It returns the error that ended it early, if any.
func (a *auditor) all(ctx context.Context) error {
	var from time.Time
	if since := a.options.Since; !since.IsZero() {
		from = since.Add(-Slack)
		a.low = mailstore.IDAt(since)
	}
	bounds, err := a.Log.Snapshot(ctx, from)
	silent, partial := errors.AsType[stream.Unanswered](err)
	if err != nil && !partial {
		return fmt.Errorf("looking at the log: %w", err)
	}
	for _, shard := range silent {
		a.lacks(stream.Unanswered{shard})
	}
	return a.run(ctx, merge.By(taken, a.shards(ctx, bounds)))
}

// lacks notes that the log was not read whole. Then a row may be of a mail that was not read.
func (a *auditor) lacks(err error) {
	a.report.notKnown(err)
	a.onlyLog = true
}

// auditor is one audit under way.
type auditor struct {
	Sources
	options Options
	started time.Time
	// floor is the time from which on the log has every mail; what is older may have been purged.
	floor time.Time
	// hole is when the log took what came before the first messages that it has lost.
	hole time.Time
	// low is the first id not joined yet.
	low    ulid.ULID
	report Report
	// onlyLog: the log's mails are looked up, and rows of other mails are passed over.
	onlyLog bool
	// absentees are settled and were not found in the database; resolve says what became of them.
	absentees []record
	// kept, when set, is told of each mail that the database has as it should be, and whether it has its bytes still.
	kept func(r record, whole bool)
}

// shards prepares the reading of each shard, and finds the time from which on the log is complete.
func (a *auditor) shards(ctx context.Context, bounds []stream.Bounds) []heads {
	a.floor = a.options.LostUntil
	var shards []heads
	for _, b := range bounds {
		settled, err := a.Log.SettledUpTo(ctx, b.Shard, stream.Storer)
		if err != nil {
			a.lacks(fmt.Errorf("what the storer has settled of %s: %w", stream.StreamName(b.Shard), err))
			continue
		}
		shards = append(shards, shardHeads(ctx, a.Log, a.Log.Digests, b, settled))
		if b.From <= 1 {
			continue // nothing has ever been purged here
		}
		since, err := a.oldest(ctx, b)
		if err != nil {
			a.lacks(fmt.Errorf("how far back %s reaches: %w", stream.StreamName(b.Shard), err))
			continue
		}
		if since.After(a.floor) {
			a.floor = since
		}
	}
	return shards
}

// oldest is the time from which on a shard has every mail: that of its first one, which Options.Since does not change. A
// shard that retention has emptied is complete from now on.
func (a *auditor) oldest(ctx context.Context, b stream.Bounds) (time.Time, error) {
	at := a.started
	err := a.Log.Outlines(ctx, stream.Bounds{Shard: b.Shard, From: 1, To: b.To}, func(o *stream.Outline) error {
		at = o.Time
		return errStop
	})
	if err != nil && !errors.Is(err, errStop) {
		return at, fmt.Errorf("reading the log: %w", err)
	}
	return at, nil
}

// run reads the heads in the order of the log and joins a window whenever enough have come.
func (a *auditor) run(ctx context.Context, all heads) error {
	var window []record
	mails, full := 0, windowMails
	for r, err := range all {
		if err != nil {
			a.lacks(err)
			continue
		}
		if r.gap != nil {
			if at := time.UnixMilli(r.at); a.hole.IsZero() || at.Before(a.hole) {
				a.hole = at
			}
			if err := a.gap(ctx, *r.gap); err != nil {
				return err
			}
			continue
		}
		if r.bad != nil {
			a.undecodable(r)
			continue
		}
		window = append(window, r)
		if mails += r.mails(); mails >= full {
			// Ids before this time cannot come any more, but for copies and retried dead letters.
			if window, err = a.join(ctx, window, mailstore.IDAt(time.UnixMilli(r.at).Add(-Slack))); err != nil {
				return err
			}
			mails = mailsOf(window)
			full = mails + windowMails
		}
	}
	_, err := a.join(ctx, window, mailstore.LastID())
	return err
}

// join compares the records below high with the database and returns the others.
func (a *auditor) join(ctx context.Context, window []record, high ulid.ULID) ([]record, error) {
	if high.Compare(a.low) <= 0 {
		return window, nil // mail that belongs between these may still come
	}
	since := mailstore.IDAt(a.options.Since)
	window, err := a.apart(ctx, window, func(r *record) bool { return r.spans(since) || r.spans(a.low) || r.spans(high) })
	if err != nil {
		return nil, err
	}
	sorted(window)
	below := func(id ulid.ULID) int {
		n, _ := slices.BinarySearchFunc(window, id, func(r record, id ulid.ULID) int { return r.id.Compare(id) })
		return n
	}
	late, now := below(a.low), below(high)
	// Late records are copies of what was joined already, or dead letters that were retried.
	for _, r := range window[:late] {
		if r.id.Compare(since) >= 0 {
			a.report.Copies += int64(r.mails())
		}
	}
	if err := a.compare(ctx, a.low, high, a.distinct(window[late:now])); err != nil {
		return nil, err
	}
	a.low = high
	if a.options.Progress != nil {
		a.options.Progress(a.report.Mails)
	}
	return slices.Clone(window[now:]), nil
}

// sorted sorts records by id.
func sorted(records []record) []record {
	slices.SortFunc(records, func(x, y record) int { return x.id.Compare(y.id) })
	return records
}

// distinct drops copies, in place: a mail is settled when one of its copies is. Packs are left alone; a copy of a mail of theirs
// shows in the sums.
func (a *auditor) distinct(sorted []record) []record {
	out := sorted[:0]
	for _, r := range sorted {
		if n := len(out); n > 0 && out[n-1].id == r.id && out[n-1].pack == nil && r.pack == nil {
			out[n-1].settled = out[n-1].settled || r.settled
			a.report.Copies++
			continue
		}
		out = append(out, r)
	}
	return out
}
