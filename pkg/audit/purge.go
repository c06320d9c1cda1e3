package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluice-mail/sluice/pkg/stream"
)

// RunRange audits the mails in one range of a stream, all of them settled: whatever is absent is missing.
func RunRange(ctx context.Context, sources Sources, streamName string, from, to uint64, o Options) (Report, error) {
	a := &auditor{Sources: sources, options: o, started: time.Now(), onlyLog: true}
	shard, ok := stream.Shard(streamName)
	if !ok {
		return a.report, fmt.Errorf("%s is not a stream of mail", streamName)
	}
	records := make([]record, 0, rangeMails)
	for r, err := range shardHeads(ctx, a.Log, a.Log.Outlines, stream.Bounds{Shard: shard, From: from, To: to}, to) {
		switch {
		case err != nil:
			return a.report, err
		case r.gap != nil:
			if err := a.gap(ctx, *r.gap); err != nil {
				return a.report, err
			}
			continue
		case r.bad != nil:
			a.undecodable(r)
			continue
		}
		if records = append(records, r); len(records) == rangeMails {
			if err := a.some(ctx, records); err != nil {
				return a.report, err
			}
			records = records[:0]
		}
	}
	return a.report, a.some(ctx, records)
}

// rangeMails are held against the database at once. They are few, so that the memory for them is used again and again.
const rangeMails = 2000

// some compares mails of a range, in any order: the database is asked for their ids alone.
func (a *auditor) some(ctx context.Context, records []record) error {
	records, err := a.singles(ctx, records)
	if err != nil {
		return err
	}
	records = a.distinct(sorted(records))
	// A dead letter that was retried has an old id among new ones: one query would read all the time between.
	for len(records) > 0 {
		n := 1
		for n < len(records) && records[n].id.Time()-records[n-1].id.Time() <= uint64(Slack.Milliseconds()) {
			n++
		}
		if err := a.compare(ctx, records[0].id, records[n-1].id, records[:n]); err != nil {
			return err
		}
		records = records[n:]
	}
	return nil
}

// BeforePurge looks once more, in the database, for the mails of messages that are about to leave the log, and adds them to the
// tally. Those that this process has audited before are compared with what it remembers; others are audited, and what is missing is
// stored again. Up to upTo they may go; the rest is for another call. An error keeps all of them there.
func (p *Periodic) BeforePurge(ctx context.Context, streamName string, from, to uint64) (upTo uint64, err error) {
	shard, ok := stream.Shard(streamName)
	if !ok {
		return 0, fmt.Errorf("%s is not a stream of mail", streamName)
	}
	state, err := p.reader.State(ctx, shard)
	if err != nil {
		return 0, err
	}
	p.memory.Lock()
	defer p.memory.Unlock()
	ledger, err := openLedger(ctx, p.nc)
	if err != nil {
		return 0, err
	}
	if err := p.lacksNothing(ctx, ledger, state); err != nil {
		return 0, fmt.Errorf("nothing of %s is purged: %w", streamName, err)
	}
	tally := ledger.of(state)
	tally.look(state, time.Now())
	// Already counted when the process was killed between the count and the purge.
	if from = max(from, tally.To+1); from > to {
		return to, nil
	}
	report, upTo, err := p.leaving(ctx, state.Created, stream.Bounds{Shard: shard, From: from, To: to}, tally.Audited)
	if err != nil {
		return 0, fmt.Errorf("auditing %s %d to %d before their purge: %w", streamName, from, to, err)
	}
	p.saw(report)
	if n := report.Unaccounted(); n > 0 {
		p.unaccounted.Set(float64(n))
		return 0, fmt.Errorf("%s %d to %d stay in the log: %d of their %d mails are unaccounted for, first %s; run sluicectl audit",
			streamName, from, upTo, n, report.Mails, report.first())
	}
	tally.add(report, upTo)
	if err := ledger.save(ctx, &tally); err != nil {
		return 0, err
	}
	p.memory.Purged(shard, upTo)
	return upTo, nil
}

// leaving audits messages of the stream made at created for BeforePurge, from the first on up to upTo.
func (p *Periodic) leaving(ctx context.Context, created time.Time, b stream.Bounds, audited uint64) (report Report, upTo uint64, err error) {
	if p.memory.Next[b.Shard].Created.Equal(created) {
		found, upTo, err := p.memory.Recall(ctx, p.sources.DB, b)
		if err != nil || upTo >= b.From {
			return Report{Mails: found.Mails, Stored: found.Mails, Bytes: found.Bytes}, upTo, err
		}
	}
	b.To = p.memory.Strange(b)
	o := p.options()
	o.SkipLists = b.To <= audited // they were looked at then
	report, err = RunRange(ctx, p.sources, stream.StreamName(b.Shard), b.From, b.To, o)
	return report, b.To, err
}

// lacksNothing is an error when the shard has lost messages that nobody has accepted the loss of.
func (p *Periodic) lacksNothing(ctx context.Context, l *ledger, s stream.ShardState) error {
	accepted, err := p.sources.Stones.Gaps(ctx, s.Shard)
	if err != nil {
		return err
	}
	var gaps []Gap
	for _, lost := range l.losses(s.Shard, &s) {
		gaps = append(gaps, lost.without(accepted)...)
	}
	if len(gaps) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s; to accept the loss: sluicectl audit accept --gap %s:%d-%d", errLost, gaps[0], gaps[0].Stream, gaps[0].From, gaps[0].To)
}

var errLost = errors.New("the log has lost messages")

// add counts a range that was audited and is about to be purged.
func (t *Tally) add(r Report, to uint64) {
	t.To, t.Audited, t.Updated = to, max(t.Audited, to), time.Now().UTC()
	t.Mails += r.Mails
	t.Stored += r.Stored
	t.Dead += r.Dead
	t.Decided += r.Dropped + r.Erased + r.Accepted
	t.Expired += r.Expired
	t.Copies += r.Copies
	t.Bytes += r.Bytes
}
