// Command readbench measures what reading a mailbox costs: a list and a mail, from the cache and from the database, next
// to bare net/http handlers that do one memcached get, or one SELECT, and answer as many bytes. Every server is a process
// of its own; what is compared is its processor time per request, round by round. memcached and MariaDB are real.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
)

type settings struct {
	mailboxes, mails, size int
	clients, rounds        int
	duration               time.Duration
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		if err := serve(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "readbench serve:", err)
			os.Exit(1)
		}
		return
	}
	var s settings
	fs := flag.NewFlagSet("readbench", flag.ExitOnError)
	bench.Positive(fs, &s.mailboxes, "mailboxes", 200, "mailboxes that are read in turn")
	bench.Positive(fs, &s.mails, "mails", 60, "mails in each")
	bench.Positive(fs, &s.size, "size", 4000, "bytes per mail")
	bench.Positive(fs, &s.clients, "clients", 16, "connections, each with one request at a time")
	bench.Positive(fs, &s.rounds, "rounds", 3, "rounds")
	fs.DurationVar(&s.duration, "duration", 3*time.Second, "of each measurement")
	bench.Usage(fs, "scripts/bench read [flags]\n\nThe servers' processor time per request: Sluice's next to bare handlers'.")
	_ = fs.Parse(os.Args[1:]) // exits on an error
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := s.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "readbench:", err)
		os.Exit(1)
	}
}

// trial is one thing to ask of one server.
type trial struct {
	name, server string
	paths        []string
	against      string // the name of the trial it is compared with
}

func (s settings) run(ctx context.Context) error {
	w, err := s.prepare(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	results := make(map[string][]result)
	for round := range s.rounds {
		for _, t := range w.trials {
			bench.Progress("round %d: %s", round+1, t.name)
			r, err := w.measure(ctx, t, s)
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			results[t.name] = append(results[t.name], r)
		}
	}
	fmt.Printf("%d mailboxes of %d mails of %d bytes; lists of 50; %d clients\n", s.mailboxes, s.mails, s.size, s.clients)
	var table bench.Table
	table.Row("", "requests/s", "p50 ms", "p99 ms", "CPU µs/request", "next to", "CPU, ratio")
	for _, t := range w.trials {
		r := results[t.name]
		ratio := ""
		if t.against != "" {
			ratio = bench.Ratio(r, result.cpu, results[t.against], result.cpu).Text(2)
		}
		table.Row(t.name, bench.Of(r, result.rate).Mid(0), bench.Of(r, result.p50).Mid(2), bench.Of(r, result.p99).Mid(2),
			bench.Of(r, result.cpu).Text(0), t.against, ratio)
	}
	table.Write(os.Stdout)
	return nil
}
