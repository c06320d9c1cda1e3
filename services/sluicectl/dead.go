package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/sluice-mail/sluice/pkg/stream/dead"
	"github.com/sluice-mail/sluice/services/internal/process"
)

const deadUsage = `ls                lists the dead letters
show ID           prints one: reason, time, envelope; with --raw the mail itself
retry ID|--all    publishes the mail again; the dead letter is removed once the storer has settled the mail
drop ID           removes a dead letter for good; audits count the mail as dropped: --why "spam"`

func (c *ctl) deadLetters(ctx context.Context, e *process.Env) error {
	f := newFlags(e, "dead", "ls | show ID | retry ID|--all | drop ID", deadUsage)
	all := f.Bool("all", false, "with retry: all of them")
	raw := f.Bool("raw", false, "with show: the bytes of the mail")
	wait := f.Duration("wait", time.Minute, "with retry: how long to wait for the storer")
	why := f.String("why", "", "with drop: the `reason`, kept with the id")
	args, err := f.parse(e.Args, 1, 2)
	if err != nil {
		return err
	}
	needsID := args[0] == "show" || args[0] == "drop" || (args[0] == "retry" && !*all)
	if needsID != (len(args) == 2) {
		return fmt.Errorf("%w: see sluicectl dead -help", process.ErrUsage)
	}
	conn, err := c.connect(ctx, e)
	if err != nil {
		return err
	}
	defer conn.Close()
	letters := dead.New(conn)
	switch args[0] {
	case "ls":
		return listDead(ctx, f, letters)
	case "show":
		return showDead(ctx, f, letters, args[1], *raw)
	case "drop":
		if err := letters.Drop(ctx, args[1], operator(), *why); err != nil {
			return fmt.Errorf("dropping %s: %w", args[1], err)
		}
		fmt.Fprintf(e.Stdout, "dropped %s\n", args[1])
		return nil
	case "retry":
		ctx, cancel := context.WithTimeout(ctx, *wait)
		defer cancel()
		return retryDead(ctx, e.Stdout, letters, args[1:])
	}
	return fmt.Errorf("%w: dead %q; see sluicectl dead -help", process.ErrUsage, args[0])
}

func retryDead(ctx context.Context, out io.Writer, letters *dead.Letters, ids []string) error {
	if len(ids) == 0 {
		n, err := letters.RetryAll(ctx)
		fmt.Fprintf(out, "retried %d\n", n)
		return err
	}
	if err := letters.Retry(ctx, ids[0]); err != nil {
		return fmt.Errorf("retrying %s: %w", ids[0], err)
	}
	fmt.Fprintf(out, "retried %s\n", ids[0])
	return nil
}

// letter is one dead letter in JSON.
type letter struct {
	ID       string    `json:"id"`
	Reason   string    `json:"reason"`
	Attempts uint64    `json:"attempts"`
	Retries  int       `json:"retries"`
	Died     time.Time `json:"died"`
	Accepted time.Time `json:"accepted"`
	Stream   string    `json:"stream"`
	Sequence uint64    `json:"sequence"`
}

func newLetter(d dead.Letter) letter {
	return letter{d.Key, d.Reason, d.Attempts, d.Retries, d.Died, d.Accepted, d.Stream, d.Sequence}
}

func listDead(ctx context.Context, f *flags, letters *dead.Letters) error {
	list := []letter{}
	err := letters.List(ctx, func(d dead.Letter) error {
		list = append(list, newLetter(d))
		return nil
	})
	if err != nil {
		return fmt.Errorf("listing the dead letters: %w", err)
	}
	return f.print(list, func(w io.Writer) {
		if len(list) == 0 {
			fmt.Fprintln(w, "no dead letters")
			return
		}
		fmt.Fprintln(w, "ID\tDIED\tATTEMPTS\tRETRIES\tREASON")
		for _, d := range list {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", d.ID, d.Died.Format(time.DateTime), d.Attempts, d.Retries, d.Reason)
		}
	})
}

func showDead(ctx context.Context, f *flags, letters *dead.Letters, key string, raw bool) error {
	d, err := letters.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("dead letter %s: %w", key, err)
	}
	if raw && d.Message.Envelope == nil {
		// It is dead because its envelope cannot be read, so there is no SHA-256 to verify the bytes with.
		_, err := f.out.Write(d.Message.Raw)
		return err
	}
	if raw {
		body, err := d.Message.Open(ctx)
		if err != nil {
			return fmt.Errorf("reading the mail: %w", err)
		}
		defer body.Close()
		_, err = io.Copy(f.out, body)
		return err
	}
	return f.print(newLetter(d), func(w io.Writer) {
		fmt.Fprintf(w, "id:\t%s\nreason:\t%s\n", d.Key, d.Reason)
		fmt.Fprintf(w, "died:\t%s after %d attempts, retried %d times\n", d.Died.Format(time.RFC3339), d.Attempts, d.Retries)
		fmt.Fprintf(w, "log:\t%s, sequence %d, %s\n", d.Stream, d.Sequence, d.Accepted.Format(time.RFC3339))
		if env := d.Message.Envelope; env != nil {
			fmt.Fprintf(w, "from:\t<%s>\n", env.GetMailFrom())
			for _, rcpt := range env.GetRecipients() {
				fmt.Fprintf(w, "to:\t<%s>\n", rcpt.GetMailbox())
			}
			fmt.Fprintf(w, "size:\t%d bytes\n", env.GetSize())
		}
	})
}
