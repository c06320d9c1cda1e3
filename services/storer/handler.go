package storer

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/consume"
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
// database refuses this very mail. What it takes to say so is in attempt.go and suspect.go.
//
// Small mail comes first, in one transaction, and is announced before anything is read of a large one, each of which is
// a transaction of its own.
func (h *handler) Handle(ctx context.Context, batch []*stream.Message) []consume.Verdict {
	a := &attempt{handler: h, batch: batch, verdicts: make([]consume.Verdict, len(batch))}
	var small []item
	var others []int
	for i, m := range batch {
		if m.Envelope.GetParts() > 0 || m.Alone {
			others = append(others, i)
			continue
		}
		small = append(small, a.convert(ctx, i)...)
	}
	a.store(ctx, small)
	a.announce()
	for _, i := range others {
		a.store(ctx, a.convert(ctx, i))
		a.announce()
	}
	a.judge(ctx)
	a.announce()
	return a.verdicts
}
