package storer

import (
	"context"
	"fmt"
	"io"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/consume"
	"github.com/sluice-mail/sluice/pkg/stream/dead"
	"github.com/sluice-mail/sluice/services/internal/await"
	"github.com/sluice-mail/sluice/services/internal/replaycmd"
)

// replayCommand is `storer replay`: it stores a stretch of the log again. target names the database.
func replayCommand(cfg Config, deps Deps, target string) replaycmd.Command {
	sum := new(totals)
	reindex := false
	return replaycmd.Command{
		Service: "storer",
		Target:  target,
		Reindex: true,
		Batch: consume.Replay{
			BatchMails: cfg.BatchRows, BatchBytes: int(cfg.BatchBytes), Workers: deps.Workers, Grave: dead.New(deps.Conn),
		},
		Prepare: func(ctx context.Context) error {
			return await.Until(ctx, deps.Logger, "the database to be ready", deps.Store.Migrate)
		},
		Handler: func(o replaycmd.Options) consume.Handler {
			h := &handler{store: deps.Store, logger: deps.Logger, totals: sum}
			if reindex = o.Reindex; reindex {
				return &reindexer{handler: h, store: deps.Store}
			}
			return h
		},
		Report: func(out io.Writer) {
			r := sum.result()
			if reindex {
				fmt.Fprintf(out, "; rows rewritten %d", r.New)
				return
			}
			fmt.Fprintf(out, "; stored %d, already there %d, expired %d", r.New, r.Existing, r.Expired)
		},
	}
}

// reindexer rewrites derived columns and inserts nothing.
type reindexer struct {
	*handler
	store mailstore.Writer
}

func (r *reindexer) Handle(ctx context.Context, batch []*stream.Message) []consume.Verdict {
	a := &attempt{handler: r.handler, verdicts: make([]consume.Verdict, len(batch))}
	var (
		mails []mailstore.Mail
		index []int
	)
	for i, m := range batch {
		mail, err := convert(ctx, m)
		if err != nil {
			a.settle(i, err)
			continue
		}
		mails, index = append(mails, mail), append(index, i)
	}
	changed, err := r.store.Reindex(ctx, mails)
	for _, i := range index {
		if err != nil {
			a.settle(i, err)
		} else {
			a.verdicts[i] = consume.Done()
		}
	}
	r.totals.add(mailstore.Result{New: changed})
	return a.verdicts
}
