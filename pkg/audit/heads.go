package audit

import (
	"context"
	"fmt"
	"iter"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/stream"
)

// record is what the log says about one mail.
type record struct {
	id      ulid.ULID
	size    int64
	sha     [32]byte
	settled bool
	at      int64 // when the log took it, Unix milliseconds
	bad     error // the envelope cannot be decoded: id is zero
}

// heads is a sequence of records, and an error that ends it.
type heads = iter.Seq2[record, error]

// shardHeads reads one shard in the order of the log. settled is the sequence up to which the storer is done.
func shardHeads(ctx context.Context, log Log, b stream.Bounds, settled uint64) heads {
	return func(yield func(record, error) bool) {
		stop := false
		err := log.Heads(ctx, b, func(h stream.Head) error {
			r := record{id: h.ID, settled: h.Sequence <= settled, at: h.Time.UnixMilli(), bad: h.Err}
			if h.Envelope != nil {
				r.size = int64(h.Envelope.GetSize())
				copy(r.sha[:], h.Envelope.GetSha256())
			}
			if !yield(r, nil) {
				stop = true
				return errStop
			}
			return nil
		})
		if err != nil && !stop {
			yield(record{}, fmt.Errorf("reading %s: %w", stream.StreamName(b.Shard), err))
		}
	}
}

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
