package audit

import (
	"context"
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
			yield(record{}, err)
		}
	}
}

// merge interleaves shards by the time the log took the mails.
func merge(shards []heads) heads {
	return func(yield func(record, error) bool) {
		type source struct {
			next func() (record, error, bool)
			head record
		}
		var sources []*source
		for _, s := range shards {
			next, stop := iter.Pull2(s)
			defer stop()
			src := &source{next: next}
			head, err, ok := next()
			if err != nil {
				yield(record{}, err)
				return
			}
			if ok {
				src.head = head
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
			src := sources[oldest]
			if !yield(src.head, nil) {
				return
			}
			head, err, ok := src.next()
			switch {
			case err != nil:
				yield(record{}, err)
				return
			case ok:
				src.head = head
			default:
				sources = append(sources[:oldest], sources[oldest+1:]...)
			}
		}
	}
}
