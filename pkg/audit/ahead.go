package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/audit/internal/merge"
	"github.com/sluice-mail/sluice/pkg/audit/internal/recall"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
)

const (
	// stepMails is how many mails are compared with the database, and remembered, at a time.
	stepMails = 10_000
	// settling is how long after the time in its id a mail usually is in the log, and settled are those before it. What takes
	// longer is looked up by its id: it costs more.
	settling = time.Second
)

// ahead is one pass over messages that are settled and were not audited yet. It is remembered; after an error the memory has to be
// emptied.
type ahead struct {
	*recall.Memory
	auditor
	size    int                  // mails of a step
	asOf    time.Time            // what the log had at this time is all in the bounds; zero: not all
	records []record             // read, and not held against the database yet
	at      int64                // when the log took the last of them
	current map[int]*recall.Step // by shard
}

// passMails end a pass, so that what was done so far is noted.
const passMails = 30 * stepMails

// run audits what the shards have in these bounds, or the first of it. The memory, which is locked, says up to where. A shard that
// does not answer stops only itself, and is among silent.
func (p *ahead) run(ctx context.Context, bounds []stream.Bounds) (silent []error, err error) {
	p.onlyLog, p.kept, p.current = true, p.keep, make(map[int]*recall.Step)
	var shards []heads
	for _, b := range bounds {
		shards = append(shards, p.shard(ctx, b))
	}
	whole, fresh := 0, 0
	for r, err := range merge.By(taken, shards) {
		switch {
		case err != nil:
			silent = append(silent, err)
			continue
		case r.gap != nil:
			if err := p.lost(ctx, *r.gap); err != nil {
				return silent, err
			}
			continue
		}
		if r.index == 0 && fresh >= p.size { // a message is in one step
			if err := p.settle(ctx); err != nil {
				return silent, err
			}
			p.Unlock() // a purge may be waiting
			p.Lock()
			if whole, fresh = whole+fresh, 0; whole >= passMails {
				p.asOf = time.Time{}
				break
			}
		}
		p.read(r)
		fresh += r.mails()
	}
	if len(silent) == 0 && !p.asOf.IsZero() {
		p.at = max(p.at, p.asOf.UnixMilli())
	}
	if err := p.settle(ctx); err != nil {
		return silent, err
	}
	return silent, p.some(ctx, p.records)
}

// shard reads one shard.
func (p *ahead) shard(ctx context.Context, b stream.Bounds) heads {
	return func(yield func(record, error) bool) {
		for r, err := range shardHeads(ctx, p.Log, p.Log.Digests, b, b.To) {
			if !yield(r, err) || err != nil {
				return
			}
		}
		p.step(b.Shard).To = b.To // whatever is there
		p.reached(b.Shard, b.To)
	}
}

// step is that of the message that is read now.
func (p *ahead) step(shard int) *recall.Step {
	s := p.current[shard]
	if s == nil {
		s = &recall.Step{From: p.Next[shard].Sequence}
		p.current[shard], p.Steps[shard] = s, append(p.Steps[shard], s)
	}
	return s
}

// reached notes that reading goes on behind a message.
func (p *ahead) reached(shard int, sequence uint64) {
	p.Next[shard] = recall.Position{Created: p.Next[shard].Created, Sequence: sequence + 1}
}

// read takes up a mail.
func (p *ahead) read(r record) {
	s := p.step(r.shard)
	s.To = r.sequence
	s.Mails += int64(r.mails())
	s.Bytes += r.size
	p.reached(r.shard, r.sequence)
	if r.bad != nil {
		p.undecodable(r)
		return
	}
	p.records, p.at = append(p.records, r), r.at
}

// lost is a gap: whatever mail was in it is not stored.
func (p *ahead) lost(ctx context.Context, b stream.Bounds) error {
	s := p.step(b.Shard)
	s.To = b.To
	s.Mails++
	p.reached(b.Shard, b.To)
	return p.gap(ctx, b)
}

// settle ends the step, and holds against the database what was read, but for the newest: more with ids like theirs may come.
func (p *ahead) settle(ctx context.Context) error {
	clear(p.current)
	if len(p.records) == 0 {
		return nil
	}
	if p.Open == nil { // before this the database may have mail that was never read here
		p.Open = &recall.Range{Low: mailstore.IDAt(time.UnixMilli(p.records[0].at).Add(settling))}
	}
	cut := mailstore.IDAt(time.UnixMilli(p.at).Add(-settling))
	var err error
	if p.records, err = p.apart(ctx, p.records, func(r *record) bool {
		return r.id.Compare(p.Open.Low) < 0 || r.spans(cut)
	}); err != nil {
		return err
	}
	late := front(p.records, func(r *record) bool { return r.id.Compare(p.Open.Low) < 0 })
	if err := p.some(ctx, p.records[:late]); err != nil {
		return err
	}
	rest := p.records[late:]
	if cut.Compare(p.Open.Low) > 0 && cut.Compare(p.Open.High) > 0 {
		n := front(rest, func(r *record) bool { return r.id.Compare(cut) < 0 })
		if err := p.upTo(ctx, before(cut), rest[:n]); err != nil {
			return err
		}
		p.Close(before(cut), cut)
		rest = rest[n:]
	}
	if mailsOf(rest) > 5*p.size { // by a clock that is ahead; memory is bounded
		if err := p.some(ctx, rest); err != nil {
			return err
		}
		rest = nil
	}
	p.records = append(p.records[:0], rest...)
	return nil
}

// front moves some records before the others, and returns how many they are.
func front(records []record, is func(*record) bool) (n int) {
	for i := range records {
		if !is(&records[i]) {
			continue
		}
		if i != n {
			records[i], records[n] = records[n], records[i]
		}
		n++
	}
	return n
}

// upTo audits records of the open range. Nearly always they are, beside those that are known already, all that the database has
// up to high: then two sums prove it. Else they are looked up by their ids.
func (p *ahead) upTo(ctx context.Context, high ulid.ULID, records []record) error {
	want := *p.Open
	for i := range records {
		records[i].addTo(&want)
	}
	mails, err := p.DB.Sum(ctx, want.Low, high)
	if err != nil {
		return fmt.Errorf("reading the database: %w", err)
	}
	lines, err := p.DB.SumLines(ctx, want.Low, high)
	if err != nil {
		return fmt.Errorf("reading the database: %w", err)
	}
	if mails != want.Mails || lines != want.Lines {
		return p.some(ctx, records)
	}
	p.Open.Mails, p.Open.Lines = want.Mails, want.Lines
	for i := range records {
		r := &records[i]
		p.count(r)
		p.report.Stored += int64(r.mails())
		p.report.last = r.last()
		p.Found(r.shard, r.sequence, r.mails(), p.Open)
	}
	return nil
}

// keep remembers a mail that the database has; whole says that its bytes were not deleted by its readers.
func (p *ahead) keep(r record, whole bool) {
	in := p.Of(r.id)
	if in == nil || r.id.Compare(mailstore.IDAt(time.UnixMilli(r.at).Add(Slack))) > 0 {
		return // it will be read again
	}
	in.Add(r.row(), r.boxes)
	if in == p.Open && r.id.Compare(in.High) > 0 {
		in.High = r.id
	}
	if whole {
		p.Found(r.shard, r.sequence, 1, in)
	}
}
