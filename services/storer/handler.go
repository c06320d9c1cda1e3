package storer

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
)

// writer is the part of a mailstore.Store that storing needs.
type writer interface {
	PutBatch(ctx context.Context, mails []mailstore.Mail) (mailstore.Result, error)
	PutOne(ctx context.Context, mail mailstore.Mail) (mailstore.Result, error)
	Probe(ctx context.Context) error
}

// handler stores batches of the log. It serves the live worker and replays.
type handler struct {
	store  writer
	logger *slog.Logger
	// stored is told what a batch made visible in the database; nil tells nobody.
	stored func(shard int, mails []stream.StoredMail)
	totals *totals
	delay  prometheus.Observer // nil on a replay: old mail would spoil the histogram
}

// Handle returns one verdict per message: done after the commit, retry when the database is away, dead when the
// database refuses this very mail. What it takes to say so is in attempt.go.
func (h *handler) Handle(ctx context.Context, batch []*stream.Message) []stream.Verdict {
	b := &attempt{handler: h, verdicts: make([]stream.Verdict, len(batch))}
	var small []item
	for i, m := range batch {
		mail, err := convert(ctx, m)
		switch {
		case err != nil:
			b.settle(i, err)
		case mail.Open != nil || m.Alone:
			// A large mail is a transaction of its own, so that small mail does not wait in it.
			b.store(ctx, []item{{i, mail, m}})
		default:
			small = append(small, item{i, mail, m})
		}
	}
	b.store(ctx, small)
	b.judge(ctx)
	if h.stored != nil && len(b.visible) > 0 {
		h.stored(batch[0].Shard, b.visible)
	}
	return b.verdicts
}
