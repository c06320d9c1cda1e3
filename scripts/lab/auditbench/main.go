// Command auditbench measures what audits cost: the processor time of the storer's own audits next to that of storing the same
// mail, with one storer and with several, and how fast `sluicectl audit` goes through a log next to reading log and database
// without comparing anything. Log, storers and database are processes of their own, as in production.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

type settings struct {
	mails, size, inPack int
	rate                int
	profile             string
	storers             bench.Ints
}

func main() {
	s := settings{storers: bench.Ints{1, 3}}
	fs := flag.NewFlagSet("audit", flag.ExitOnError)
	bench.Usage(fs, "scripts/bench audit: what audits cost next to storing, and how fast a full one is.")
	bench.Positive(fs, &s.mails, "mails", 200_000, "mails in the log")
	bench.Positive(fs, &s.size, "size", 4096, "bytes of a mail")
	bench.Positive(fs, &s.inPack, "pack", 60, "mails in a message of the log")
	bench.Positive(fs, &s.rate, "rate", 10_000, "mails per second that the log gets, about as many as are stored")
	fs.Var(&s.storers, "storers", "how many storers")
	fs.StringVar(&s.profile, "profile", "", "write a processor profile of the storer's audits into this file; the last number of storers counts")
	_ = fs.Parse(os.Args[1:])
	s.mails = max(s.mails/s.inPack, 1) * s.inPack
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := s.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "auditbench:", err)
		os.Exit(1)
	}
}

func (s settings) run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "auditbench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bench.Progress("building")
	binaries, err := fleet.Build(dir)
	if err != nil {
		return err
	}
	fmt.Printf("%d mails of %d bytes, %d in a message, two mailboxes each\n\n", s.mails, s.size, s.inPack)
	var table bench.Table
	table.Row("storers", "storing, µs/mail", "audit once stored", "audit before the purge", "both, of storing", "mails audited / stored")
	for i, storers := range s.storers {
		w, err := start(ctx, binaries, s)
		if err != nil {
			return err
		}
		c, err := w.cost(ctx, storers)
		if err == nil {
			table.Row(fmt.Sprint(storers), micro(c.storing), micro(c.soon), micro(c.purge),
				fmt.Sprintf("%.2f %%", 100*float64(c.soon+c.purge)/float64(c.storing)), fmt.Sprintf("%.2f", c.share))
		}
		if err == nil && i == len(s.storers)-1 {
			table.Write(os.Stdout)
			err = w.full(ctx)
		}
		w.close()
		if err != nil {
			return err
		}
	}
	return nil
}

func micro(perMail time.Duration) string {
	return fmt.Sprintf("%.2f", float64(perMail.Nanoseconds())/1000)
}
