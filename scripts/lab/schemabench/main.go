// Command schemabench measures the database when it is large: 20 million mails of three years in a real MariaDB, a quarter of
// them in the current partition. It fills the tables of the real migrations, and then lists mailboxes, asks the ancestor's
// questions, stores mail next to storing it into empty tables, drops a partition meanwhile, audits, and weighs what a mail takes
// on disk. It prints each figure next to its target, and what the optimiser makes of each statement.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
)

type settings struct {
	rows, current, queries, rounds, mails int
	pool, keep                            string
	only                                  bench.Words
	strict, warm                          bool
}

func main() {
	s := settings{only: bench.Words{Known: []string{"lists", "lookups", "audit", "storing", "dropping", "disk", "plans"}}}
	s.only.List = s.only.Known
	fs := flag.NewFlagSet("store", flag.ExitOnError)
	bench.Usage(fs, "scripts/bench store: the database with 20 million mails of three years. Takes an hour and 28 GB of disk; -rows 200000 takes two minutes.")
	bench.Positive(fs, &s.rows, "rows", 20_000_000, "mails in the database")
	bench.Positive(fs, &s.queries, "queries", 2000, "queries of each kind")
	bench.Positive(fs, &s.rounds, "rounds", 5, "rounds of storing")
	bench.Positive(fs, &s.mails, "mails", 20_000, "mails stored in a round")
	fs.StringVar(&s.pool, "pool", "6G", "innodb_buffer_pool_size of the server")
	fs.StringVar(&s.keep, "keep", "", "directory for the data, kept and used again; empty: a temporary one")
	fs.Var(&s.only, "only", "what to measure, of "+s.only.String())
	fs.BoolVar(&s.warm, "warm", false, "read all lists into memory first; takes a pool of half a kilobyte per mail")
	fs.BoolVar(&s.strict, "strict", false, "exit 1 when a target is missed")
	_ = fs.Parse(os.Args[1:])
	s.current = s.rows/4 + s.rows/50
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	missed, err := s.run(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "schemabench:", err)
		os.Exit(1)
	}
	if missed && s.strict {
		os.Exit(1)
	}
}

func (s settings) run(ctx context.Context) (missed bool, err error) {
	w, err := s.open(ctx)
	if err != nil {
		return false, err
	}
	defer w.close()
	t := &targets{}
	t.Row("", "measured", "target", "")
	for _, name := range s.only.Known {
		measure := map[string]func(context.Context, *targets) error{"lists": w.reading, "lookups": w.views, "audit": w.auditing,
			"storing": w.storing, "dropping": w.dropping, "disk": w.weighing, "plans": w.explain}[name]
		if !slices.Contains(s.only.List, name) {
			continue
		}
		if err := measure(ctx, t); err != nil {
			return false, fmt.Errorf("%s: %w", name, err)
		}
	}
	fmt.Printf("%d mails, %d of them in the current of %d partitions; buffer pool %s\n\n", w.rows, w.current, len(w.bounds), s.pool)
	t.Write(os.Stdout)
	fmt.Printf("\nWhat the optimiser chooses (p: partitions):\n")
	t.plans.Write(os.Stdout)
	return t.missed, nil
}

// targets is the table of figures.
type targets struct {
	bench.Table
	plans  bench.Table
	missed bool
}

// most adds a figure that has to stay below its target.
func (t *targets) most(what string, value, target float64, unit string) {
	t.add(what, value, target, "≤", unit, value <= target)
}

// least adds a figure that has to reach its target.
func (t *targets) least(what string, value, target float64, unit string) {
	t.add(what, value, target, "≥", unit, value >= target)
}

func (t *targets) add(what string, value, target float64, sign, unit string, pass bool) {
	verdict := "pass"
	if !pass {
		verdict, t.missed = "MISS", true
	}
	t.Row(what, fmt.Sprintf("%.2f%s", value, unit), fmt.Sprintf("%s %g%s", sign, target, unit), verdict)
}

// tell adds a figure without a target.
func (t *targets) tell(what, format string, args ...any) {
	t.Row(what, fmt.Sprintf(format, args...), "", "")
}
