package audit

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/audit/internal/recall"
	"github.com/sluice-mail/sluice/pkg/stream"
)

// packed says whether one of these stands for a pack.
func packed(records []record) bool {
	return slices.ContainsFunc(records, func(r record) bool { return r.pack != nil })
}

// mailsOf is how many mails these are.
func mailsOf(records []record) (n int) {
	for i := range records {
		n += records[i].mails()
	}
	return n
}

// spans says whether some of its mails come before an id, and others do not.
func (r *record) spans(id ulid.ULID) bool { return r.id.Compare(id) < 0 && r.last().Compare(id) >= 0 }

// apart replaces the packs that which names by their mails, which are read from the log once more. The others keep their order.
func (a *auditor) apart(ctx context.Context, records []record, which func(*record) bool) ([]record, error) {
	var packs []record
	kept := records[:0:len(records)] // what comes behind is not ours
	for i := range records {
		if r := records[i]; r.pack != nil && which(&r) {
			packs = append(packs, r)
		} else {
			kept = append(kept, r)
		}
	}
	slices.SortFunc(packs, func(x, y record) int {
		return cmp.Or(cmp.Compare(x.shard, y.shard), cmp.Compare(x.sequence, y.sequence))
	})
	for len(packs) > 0 {
		n := 1
		for n < len(packs) && packs[n].shard == packs[0].shard && packs[n].sequence-packs[n-1].sequence <= near {
			n++
		}
		mails, err := a.unpack(ctx, packs[:n])
		if err != nil {
			return nil, err
		}
		kept, packs = append(kept, mails...), packs[n:]
	}
	return kept, nil
}

// near is how many messages that are not wanted are read along, because that costs less than beginning to read once more.
const near = 200

// unpack reads the mails of packs of a shard, which are in order of sequence. What is bad is counted.
func (a *auditor) unpack(ctx context.Context, packs []record) (mails []record, err error) {
	b := stream.Bounds{Shard: packs[0].shard, From: packs[0].sequence, To: packs[len(packs)-1].sequence}
	var lost []uint64
	var boxes boxes
	next, found := 0, false
	done := func(upTo uint64) {
		for ; next < len(packs) && packs[next].sequence <= upTo; next++ {
			if !found {
				lost = append(lost, packs[next].sequence)
			}
			found = false
		}
	}
	err = a.Log.Outlines(ctx, b, func(o *stream.Outline) error {
		done(o.Sequence - 1)
		if next == len(packs) || packs[next].sequence != o.Sequence {
			return nil
		}
		found = true
		r := newRecord(o, 0, &boxes)
		r.settled = packs[next].settled
		if r.bad != nil {
			a.undecodable(r)
		} else {
			mails = append(mails, r)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", stream.StreamName(b.Shard), err)
	}
	done(b.To)
	for _, sequence := range lost { // since it was read the first time; it may have been purged
		gaps, err := a.Log.Gaps(ctx, stream.Bounds{Shard: b.Shard, From: sequence, To: sequence})
		if err != nil {
			return nil, err
		}
		for _, gap := range gaps {
			if err := a.gap(ctx, gap); err != nil {
				return nil, err
			}
		}
	}
	return mails, nil
}

// singles replaces all packs by their mails.
func (a *auditor) singles(ctx context.Context, records []record) ([]record, error) {
	return a.apart(ctx, records, func(*record) bool { return true })
}

// addTo adds the mails to what the database must have in a range.
func (r *record) addTo(sum *recall.Range) {
	if r.pack == nil {
		sum.Add(r.row(), r.boxes)
		return
	}
	sum.Mails.Mails += r.pack.Mails
	sum.Mails.Bytes += r.pack.Bytes
	sum.Mails.Check += r.pack.Check
	sum.Lines.Lines += r.pack.Lines
	sum.Lines.Check += r.pack.LinesCheck
}

// span compares like compare. As long as all is well, packs are compared by their digests. Else the part in which something
// differs is looked for, and only its packs are decoded.
func (a *auditor) span(ctx context.Context, low, high ulid.ULID, records []record) error {
	if !packed(records) {
		return a.compareAll(ctx, low, high, records)
	}
	if a.onlyLog || a.options.Deep || a.options.Acks != nil {
		return a.compareSingles(ctx, low, high, records)
	}
	same, err := a.same(ctx, low, high, records)
	if err == nil && same && !a.options.SkipLists {
		same, err = a.listed(ctx, low, high, records)
	}
	switch cut := records[len(records)/2].id; {
	case err != nil:
		return fmt.Errorf("reading the database: %w", err)
	case same:
		for i := range records {
			a.count(&records[i])
			a.stored(records[i])
		}
		return nil
	case mailsOf(records) > compareMails && cut.Compare(low) > 0:
		return a.halves(ctx, low, cut, high, records)
	default:
		return a.compareSingles(ctx, low, high, records)
	}
}

// halves compares what is below cut and the rest.
func (a *auditor) halves(ctx context.Context, low, cut, high ulid.ULID, records []record) error {
	records, err := a.apart(ctx, records, func(r *record) bool { return r.spans(cut) })
	if err != nil {
		return err
	}
	n := front(records, func(r *record) bool { return r.id.Compare(cut) < 0 })
	if err := a.span(ctx, low, before(cut), a.distinct(sorted(records[:n]))); err != nil {
		return err
	}
	return a.span(ctx, cut, high, a.distinct(sorted(records[n:])))
}

// compareSingles decodes all packs.
func (a *auditor) compareSingles(ctx context.Context, low, high ulid.ULID, records []record) error {
	records, err := a.singles(ctx, records)
	if err != nil {
		return err
	}
	return a.compareAll(ctx, low, high, a.distinct(sorted(records)))
}
