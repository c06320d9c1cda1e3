package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

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
	*memory
	auditor
	records []record      // read, and not held against the database yet
	at      int64         // when the log took the last of them
	current map[int]*step // by shard
}

// passMails end a pass, so that what was done so far is noted.
const passMails = 30 * stepMails

// run audits what the shards have in these bounds, or the first of it. The memory, which is locked, says up to where. A shard that
// does not answer stops only itself, and is among silent.
func (p *ahead) run(ctx context.Context, bounds []stream.Bounds) (silent []error, err error) {
	p.onlyLog, p.kept, p.current = true, p.keep, make(map[int]*step)
	var shards []heads
	for _, b := range bounds {
		shards = append(shards, p.shard(ctx, b))
	}
	all := merge(shards)
	if len(shards) == 1 {
		all = shards[0]
	}
	whole, fresh := 0, 0
	for r, err := range all {
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
			p.mu.Unlock() // a purge may be waiting
			p.mu.Lock()
			if whole, fresh = whole+fresh, 0; whole >= passMails {
				break
			}
		}
		p.read(r)
		fresh++
	}
	if err := p.settle(ctx); err != nil {
		return silent, err
	}
	return silent, p.some(ctx, p.records)
}

// shard reads one shard.
func (p *ahead) shard(ctx context.Context, b stream.Bounds) heads {
	return func(yield func(record, error) bool) {
		for r, err := range shardHeads(ctx, p.Log, b, b.To) {
			if !yield(r, err) || err != nil {
				return
			}
		}
		p.step(b.Shard).to = b.To // whatever is there
		p.next[b.Shard] = position{p.next[b.Shard].created, b.To + 1}
	}
}

// step is that of the message that is read now.
func (p *ahead) step(shard int) *step {
	s := p.current[shard]
	if s == nil {
		s = &step{from: p.next[shard].sequence}
		p.current[shard], p.steps[shard] = s, append(p.steps[shard], s)
	}
	return s
}

// read takes up a mail.
func (p *ahead) read(r record) {
	s := p.step(r.shard)
	s.to = r.sequence
	s.mails++
	s.bytes += r.size
	p.next[r.shard] = position{p.next[r.shard].created, r.sequence + 1}
	if r.bad != nil {
		p.undecodable(r)
		return
	}
	p.records, p.at = append(p.records, r), r.at
}

// lost is a gap: whatever mail was in it is not stored.
func (p *ahead) lost(ctx context.Context, b stream.Bounds) error {
	s := p.step(b.Shard)
	s.to = b.To
	s.mails++
	p.next[b.Shard] = position{p.next[b.Shard].created, b.To + 1}
	return p.gap(ctx, b)
}

// settle ends the step, and holds against the database what was read, but for the newest: more with ids like theirs may come.
func (p *ahead) settle(ctx context.Context) error {
	clear(p.current)
	if len(p.records) == 0 {
		return nil
	}
	if p.open == nil { // before this the database may have mail that was never read here
		p.open = &idRange{low: mailstore.IDAt(time.UnixMilli(p.records[0].at).Add(settling))}
	}
	cut := mailstore.IDAt(time.UnixMilli(p.at).Add(-settling))
	late := front(p.records, func(r *record) bool { return r.id.Compare(p.open.low) < 0 })
	if err := p.some(ctx, p.records[:late]); err != nil {
		return err
	}
	rest := p.records[late:]
	if cut.Compare(p.open.low) > 0 && cut.Compare(p.open.high) > 0 {
		n := front(rest, func(r *record) bool { return r.id.Compare(cut) < 0 })
		if err := p.upTo(ctx, before(cut), rest[:n]); err != nil {
			return err
		}
		p.close(cut)
		rest = rest[n:]
	}
	if len(rest) > 5*p.size { // by a clock that is ahead; memory is bounded
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
	want := *p.open
	for i := range records {
		want.add(&records[i])
	}
	mails, err := p.DB.Sum(ctx, want.low, high)
	if err != nil {
		return fmt.Errorf("reading the database: %w", err)
	}
	lines, err := p.DB.SumLines(ctx, want.low, high)
	if err != nil {
		return fmt.Errorf("reading the database: %w", err)
	}
	if mails != want.mails || lines != want.lines {
		return p.some(ctx, records)
	}
	p.open.mails, p.open.lines = want.mails, want.lines
	for i := range records {
		r := &records[i]
		p.count(r)
		p.report.Stored++
		p.report.last = r.id
		p.found(r, p.open)
	}
	return nil
}

// keep remembers a mail that the database has; whole says that its bytes were not deleted by its readers.
func (p *ahead) keep(r record, whole bool) {
	in := p.of(r.id)
	if in == nil || r.id.Compare(mailstore.IDAt(time.UnixMilli(r.at).Add(Slack))) > 0 {
		return // it will be read again
	}
	in.add(&r)
	if in == p.open && r.id.Compare(in.high) > 0 {
		in.high = r.id
	}
	if whole {
		p.found(&r, in)
	}
}
