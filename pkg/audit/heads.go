package audit

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/digest"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
)

// record is what the log says about one mail, or about all mails of a pack.
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

	// pack, when set, is the digest of all mails of the message: id is the smallest of theirs, size all their bytes.
	pack *stream.Digest
	// gap is set when this is no mail, but a range that the log has lost.
	gap *stream.Bounds
}

// mails is how many it stands for.
func (r *record) mails() int {
	if r.pack != nil {
		return int(r.pack.Mails)
	}
	return 1
}

// last is the largest id in it.
func (r *record) last() ulid.ULID {
	if r.pack != nil {
		return r.pack.Last
	}
	return r.id
}

// heads is a sequence of records, and an error that ends it.
type heads = iter.Seq2[record, error]

// outlines is Log.Outlines or Log.Digests.
type outlines = func(ctx context.Context, b stream.Bounds, fn func(*stream.Outline) error) error

// shardHeads reads one shard in the order of the log, and finds the gaps in it. settled is the sequence up to which the storer
// is done.
func shardHeads(ctx context.Context, log Log, read outlines, b stream.Bounds, settled uint64) heads {
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
		var boxes boxes
		err := read(ctx, b, func(o *stream.Outline) error {
			r := newRecord(o, settled, &boxes)
			if o.Index == 0 {
				if err := gaps(o.Sequence - 1 - min(uint64(o.Parts), o.Sequence-1)); err != nil {
					return err
				}
				next, at = o.Sequence+1, r.at
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

func newRecord(o *stream.Outline, settled uint64, boxes *boxes) record {
	if o.Digest.Mails > 0 {
		pack := o.Digest
		return record{
			pack: &pack, id: pack.First, size: pack.Bytes, settled: o.Sequence <= settled, at: o.Time.UnixMilli(),
			shard: o.Shard, sequence: o.Sequence,
		}
	}
	return record{
		id: o.ID, size: o.Size, sha: o.SHA256, settled: o.Sequence <= settled, at: o.Time.UnixMilli(), bad: o.Err, boxes: boxes.of(o.Mailboxes),
		shard: o.Shard, sequence: o.Sequence, index: o.Index,
	}
}

// boxes makes the keys of mailboxes, many in one piece of memory.
type boxes [][16]byte

// of is the keys of different mailboxes.
func (b *boxes) of(mailboxes [][]byte) [][16]byte {
	if cap(*b)-len(*b) < len(mailboxes) {
		*b = make(boxes, 0, max(1024, len(mailboxes)))
	}
	from := len(*b)
	for _, mailbox := range mailboxes {
		if box := digest.Mailbox(mailbox); !slices.Contains((*b)[from:], box) {
			*b = append(*b, box)
		}
	}
	return (*b)[from:len(*b):len(*b)]
}

func (r *record) row() mailstore.Row { return mailstore.Row{ID: r.id, Size: r.size, SHA256: r.sha} }

// taken is when the log took a mail.
func taken(r *record) int64 { return r.at }

func (r record) place() Place { return Place{r.shard, r.sequence, r.index} }
