package audit

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
)

// record is what the log says about one mail.
type record struct {
	id      ulid.ULID
	size    int64
	sha     [32]byte
	settled bool
	at      int64      // when the log took it, Unix milliseconds
	bad     error      // the envelope cannot be decoded: id is zero
	boxes   [][16]byte // the mailboxes that must list it, see mailstore.Mbox

	shard    int
	sequence uint64
	index    int // among the mails of the message

	// gap is set when this is no mail, but a range that the log has lost.
	gap *stream.Bounds
}

// heads is a sequence of records, and an error that ends it.
type heads = iter.Seq2[record, error]

// shardHeads reads one shard in the order of the log, and finds the gaps in it. settled is the sequence up to which the storer
// is done.
func shardHeads(ctx context.Context, log Log, b stream.Bounds, settled uint64) heads {
	return func(yield func(record, error) bool) {
		stop := false
		next, at := b.From, int64(0) // what must come next, and when the last came
		gaps := func(to uint64) error {
			if next > to || stop {
				return nil
			}
			found, err := log.Gaps(ctx, stream.Bounds{Shard: b.Shard, From: next, To: to})
			for i := range found {
				if stop = !yield(record{shard: b.Shard, gap: &found[i], at: at}, nil); stop {
					return errStop
				}
			}
			return err
		}
		err := log.Heads(ctx, b, func(h stream.Head) error {
			r := newRecord(h, settled)
			if h.Index == 0 {
				if err := gaps(h.Sequence - 1 - min(uint64(h.Envelope.GetParts()), h.Sequence-1)); err != nil {
					return err
				}
				next, at = h.Sequence+1, r.at
			}
			if stop = !yield(r, nil); stop {
				return errStop
			}
			return nil
		})
		if err == nil {
			err = gaps(b.To)
		}
		if err != nil && !stop {
			yield(record{}, fmt.Errorf("reading %s: %w", stream.StreamName(b.Shard), err))
		}
	}
}

func newRecord(h stream.Head, settled uint64) record {
	r := record{
		id: h.ID, settled: h.Sequence <= settled, at: h.Time.UnixMilli(), bad: h.Err,
		shard: h.Shard, sequence: h.Sequence, index: h.Index,
	}
	if h.Envelope != nil {
		r.size = int64(h.Envelope.GetSize())
		copy(r.sha[:], h.Envelope.GetSha256())
		r.boxes = make([][16]byte, 0, len(h.Envelope.GetRecipients()))
		for _, to := range h.Envelope.GetRecipients() {
			if box := mailstore.Mbox(to.GetMailbox()); !slices.Contains(r.boxes, box) {
				r.boxes = append(r.boxes, box)
			}
		}
	}
	return r
}

func (r record) row() mailstore.Row { return mailstore.Row{ID: r.id, Size: r.size, SHA256: r.sha} }

// merge interleaves shards by the time the log took the mails. A shard that cannot be read any further yields its error and
// leaves the others.
func merge(shards []heads) heads {
	return func(yield func(record, error) bool) {
		type source struct {
			next func() (record, error, bool)
			head record
		}
		var sources []*source
		// advance says whether a source has one more head, and whether the reading goes on.
		advance := func(s *source) (more, goOn bool) {
			head, err, ok := s.next()
			if err != nil {
				return false, yield(record{}, err)
			}
			s.head = head
			return ok, true
		}
		for _, s := range shards {
			next, stop := iter.Pull2(s)
			defer stop()
			src := &source{next: next}
			more, goOn := advance(src)
			if !goOn {
				return
			}
			if more {
				sources = append(sources, src)
			}
		}
		for len(sources) > 0 {
			oldest := 0
			for i, s := range sources {
				if s.head.at < sources[oldest].head.at {
					oldest = i
				}
			}
			if !yield(sources[oldest].head, nil) {
				return
			}
			more, goOn := advance(sources[oldest])
			if !goOn {
				return
			}
			if !more {
				sources = append(sources[:oldest], sources[oldest+1:]...)
			}
		}
	}
}
