package replaycmd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/stream/consume"
	"github.com/sluice-mail/sluice/pkg/stream/retain"
	"github.com/sluice-mail/sluice/services/internal/process"
)

// Exit codes beside 0 and the usual 1 and 2.
const (
	exitDead        = process.ExitCode(3)
	exitInterrupted = process.ExitCode(130)
)

// Command is what differs between the services' replays.
type Command struct {
	Service string // name of the program
	// Target names where the mails go, without secrets: a replay of one name is bound to it.
	Target string
	// Batch sizes the batches; the rest of it comes from the flags.
	Batch consume.Replay
	// Reindex offers --reindex.
	Reindex bool
	// Prepare, when set, waits for what the handler needs; not called for a dry run.
	Prepare func(ctx context.Context) error
	Handler func(Options) consume.Handler
	// Report prints the service's part of the summary.
	Report func(out io.Writer)
}

// Run parses args, replays, and prints the summary. Its error carries the exit code.
func (c Command) Run(ctx context.Context, nc *nats.Conn, logger *slog.Logger, reg prometheus.Registerer, args []string, out io.Writer) error {
	o, err := Parse(c.Service, args, c.Reindex, time.Now(), out)
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %w", process.ErrUsage, err)
	}
	r := o.Replay
	r.Target = c.Service + " " + c.Target
	r.BatchMails, r.BatchBytes, r.Workers = c.Batch.BatchMails, c.Batch.BatchBytes, c.Batch.Workers
	r.Grave = c.Batch.Grave
	r.Progress = Progress(out)
	if !r.DryRun && c.Prepare != nil {
		if err := c.Prepare(ctx); err != nil {
			return err
		}
	}
	if err := announce(ctx, nc, r, out); err != nil {
		return err
	}
	summary, err := r.Run(ctx, nc, c.Handler(o), logger, reg)
	c.summarise(out, r, summary)
	switch {
	case ctx.Err() != nil:
		c.hint(out, r)
		return exitInterrupted
	case err != nil:
		if !errors.Is(err, consume.ErrReplayMismatch) {
			c.hint(out, r)
		}
		return err
	case summary.Dead > 0:
		return exitDead
	}
	return nil
}

// announce names the range: of a replay of that name which is under way, whatever time the flags mean by now.
func announce(ctx context.Context, nc *nats.Conn, r consume.Replay, out io.Writer) error {
	if r.Name != "" && !r.DryRun {
		if _, err := retain.ForgetReplays(ctx, nc); err != nil {
			return err
		}
		since, ranges, err := retain.ReplayRange(ctx, nc, r.Name)
		if err != nil {
			return err
		}
		if ranges != "" {
			fmt.Fprintf(out, "replay: continues %s, which was started at %s and reads %s\n", r.Name, since.Format(time.RFC3339), ranges)
			return nil
		}
	}
	fmt.Fprintf(out, "replay: mail that the log took %s\n", span(r, time.Now()))
	return nil
}

// span says in words what a new replay reads.
func span(r consume.Replay, now time.Time) string {
	from, to := "from its beginning", now
	if !r.Since.IsZero() {
		from = "from " + r.Since.UTC().Format(time.RFC3339)
	}
	if !r.Until.IsZero() && r.Until.Before(now) {
		to = r.Until
	}
	text := from + " to " + to.UTC().Format(time.RFC3339)
	if r.FromSeq > 0 || r.ToSeq > 0 {
		text += fmt.Sprintf(", sequences %d to %d (0: no bound)", r.FromSeq, r.ToSeq)
	}
	return text
}

func (c Command) summarise(out io.Writer, r consume.Replay, s consume.ReplaySummary) {
	what := "replay"
	if r.DryRun {
		what = "replay (dry run)"
	}
	fmt.Fprintf(out, "%s: read %d mails (%.1f MiB) in %s, %.0f/s", what, s.Read, float64(s.Bytes)/(1<<20),
		s.Elapsed.Round(time.Millisecond), float64(s.Read)/max(s.Elapsed.Seconds(), 0.001))
	if s.Skipped > 0 {
		fmt.Fprintf(out, "; not selected %d", s.Skipped)
	}
	if !r.DryRun {
		c.Report(out)
	}
	fmt.Fprintf(out, "; dead %d\n", s.Dead)
}

func (c Command) hint(out io.Writer, r consume.Replay) {
	if r.Name != "" {
		fmt.Fprintf(out, "replay: not finished; the same flags with --name %s continue it\n", r.Name)
	}
}
