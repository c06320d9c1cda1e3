// Command readbench measures what reading a mailbox costs: a list and a mail, when the cache has them and when it does not,
// next to bare net/http handlers that do one memcached get, or one SELECT, and answer as many bytes. Every server is a
// process of its own; what is compared is its processor time per request, round by round, alone and beside storing.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
)

const usage = `scripts/bench read [flags]

The inbox and the bare handlers get the same requests in turn over kept connections: once while nothing else happens, once
while mail is stored at half the rate that was reached when the mailboxes were filled. Log, MariaDB, memcached and all services
are real. "again" is a mail that this replica has shown before; "first" is one that only memcached has; "database" is what
has just been deleted from memcached. A bare handler answers with the bytes that the inbox answers: from one item of memcached,
or from one row; "SELECT of 50 rows" reads the lines of a list and writes them with encoding/json.

    scripts/bench read -rounds 5 -size 4KB`

type settings struct {
	mailboxes, mails  int
	requests, clients int
	rounds            int
	size              string
	only, profiles    string
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
	bench.Positive(fs, &s.mailboxes, "mailboxes", 100, "mailboxes")
	bench.Positive(fs, &s.mails, "mails", 80, "mails in each, on average")
	bench.Positive(fs, &s.requests, "requests", 2000, "requests of each measurement")
	bench.Positive(fs, &s.clients, "clients", 8, "connections, each with one request at a time")
	bench.Positive(fs, &s.rounds, "rounds", 5, "rounds")
	fs.StringVar(&s.size, "size", "4KB", "bytes per mail: a quarter each is HTML, 8-bit text, ASCII, and text with a file")
	fs.StringVar(&s.only, "only", "", "only the rows with this `text` in their name")
	fs.StringVar(&s.profiles, "profiles", "", "`folder` for processor profiles of the inbox, one for each row; to measure them costs time")
	bench.Usage(fs, usage)
	_ = fs.Parse(os.Args[1:]) // ExitOnError
	s.profiles = bench.Path(s.profiles)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := s.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "readbench:", err)
		os.Exit(1)
	}
}

func (s settings) run(ctx context.Context) error {
	w, err := s.prepare(ctx)
	defer w.close()
	if err != nil {
		return err
	}
	for _, phase := range []struct {
		name   string
		around func(context.Context) (stop func() error, err error)
	}{{"alone", w.nothing}, {"beside storing", w.storing}} {
		results, err := w.rounds(ctx, phase.name, phase.around)
		if err != nil {
			return err
		}
		s.print(phase.name, results, w)
	}
	return nil
}

// rounds asks for everything, the bare handlers and the inbox in turn, so many times. Each round has a fresh replica.
func (w *world) rounds(ctx context.Context, phase string, around func(context.Context) (func() error, error)) (results map[string][]result, err error) {
	results = make(map[string][]result)
	for round := range w.settings.rounds {
		if err := w.freshInbox(ctx); err != nil {
			return nil, err
		}
		stop, err := around(ctx)
		if err != nil {
			return nil, err
		}
		for _, t := range w.trials {
			bench.Progress("%s, round %d of %d: %s", phase, round+1, w.settings.rounds, t.name)
			r, err := w.measure(ctx, t)
			if err != nil {
				_ = stop() // this error is the one to tell
				return nil, fmt.Errorf("%s: %w", t.name, err)
			}
			results[t.name] = append(results[t.name], r)
		}
		if err := stop(); err != nil {
			return nil, err
		}
	}
	return results, nil
}

func (s settings) print(phase string, results map[string][]result, w *world) {
	storing := ""
	if phase != "alone" {
		storing = fmt.Sprintf(" (%.0f mails/s)", w.rate/2)
	}
	fmt.Printf("%s%s: %d mailboxes of %d mails of %s; lists of 50; %d connections\n", phase, storing, s.mailboxes, s.mails, s.size, s.clients)
	var table bench.Table
	table.Row("", "bytes", "requests/s", "p50 ms", "p99 ms", "CPU µs", "CPU, ratio")
	for _, t := range w.trials {
		r := results[t.name]
		ratio := ""
		if t.against != "" {
			ratio = bench.Ratio(r, result.cpu, results[t.against], result.cpu).Text(2)
		}
		table.Row(t.name, bench.Of(r, result.size).Mid(0), bench.Of(r, result.rate).Mid(0), bench.Of(r, result.p50).Mid(2), bench.Of(r, result.p99).Mid(2),
			bench.Of(r, result.cpu).Text(0), ratio)
	}
	table.Write(os.Stdout)
}
