package storer

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream/consume"
	"github.com/sluice-mail/sluice/pkg/stream/dead"
	"github.com/sluice-mail/sluice/services/internal/await"
	"github.com/sluice-mail/sluice/services/internal/replaycmd"
)

// replayCommand is `storer replay`: it stores a range of the log again. target names the database.
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
				h.store = reindexer{deps.Store, deps.Logger}
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

// reindexer is a writer that rewrites the derived columns of stored mail and inserts nothing.
type reindexer struct {
	mailstore.Writer
	logger *slog.Logger
}

// PutBatch rewrites the columns; what is new is the rows that changed.
func (r reindexer) PutBatch(ctx context.Context, mails []mailstore.Mail) (mailstore.Result, error) {
	changed, err := r.Reindex(ctx, mails)
	return mailstore.Result{New: changed}, err
}

// PutOne leaves the columns as they are: the mail is stored, and empty columns would not be better.
func (r reindexer) PutOne(_ context.Context, mail mailstore.Mail) (mailstore.Result, error) {
	r.logger.Warn("the derived columns of a mail cannot be rewritten and stay as they are", "id", mail.ID.String())
	return mailstore.Result{}, nil
}
