// Command logbench measures what a 250 costs: mails into a real nats-server that syncs before it acknowledges,
// by the publisher and by other means, and the same without syncing.
//
//	before     the publisher of an older revision (-before), built from a checkout of it
//	packs      the publisher
//	single     one message per mail, its acknowledgement awaited (`nats bench js pub sync`, many clients)
//	async      a plain loop with a window of that many unacknowledged messages (`nats bench js pub async`)
//
// Every row of a table is measured in every round, in turn, so that a noisy machine is noisy for all of them: the
// ratios, taken within each round, are what to read. Each measurement has a server (or cluster) and a store of its own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
	"github.com/sluice-mail/sluice/scripts/lab/logbench/server"
)

const usage = `
scripts/bench commit [flags]

Mails into a nats-server that syncs before it acknowledges: how many, what each costs the log, how long each waits.
With -before the publisher of an older revision is measured in the same run:

    scripts/bench commit -before REV -senders 8,64,256 -sizes 4096,20480 -rounds 5 -for 4s
    scripts/bench commit -before REV -senders 64 -servers 3          three replicas on three servers, all on this machine
    scripts/bench commit -before REV -senders 64 -processes 4        4 processes with 64 senders each, as 4 ingresses

"log µs" is the processor time of nats-server per mail (of all servers together), "sender µs" that of the publishing
processes. "ratio" and "log ratio" compare with the row "before", without it with "single, synced".
"fsyncs/pack" and "in fsync", the share of the time, are from a run of their own under strace, for the busiest server. A
stream does nothing else meanwhile, so 1 − "in fsync" is what a synced row can reach of its unsynced one.
Min–max over the rounds in parentheses.`

type settings struct {
	server, dir, before, only          string
	length, warmup                     time.Duration
	rounds, shards, servers, processes int
	sizes, senders                     bench.Ints
	fsyncs                             bool
}

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "logbench:", err)
		os.Exit(1)
	}
}

func parse(args []string) (s settings, err error) {
	fs := flag.NewFlagSet("logbench", flag.ContinueOnError)
	bench.Usage(fs, usage)
	s.sizes, s.senders = bench.Ints{20480, 4096}, bench.Ints{1, 64, 256}
	fs.StringVar(&s.server, "server", "", "nats-server to run; default: built from pkg's module")
	fs.StringVar(&s.dir, "dir", "", "where the stores go: the disk that is measured; default: the temporary directory")
	fs.StringVar(&s.before, "before", "", "also measure the publisher of this revision")
	fs.StringVar(&s.only, "only", "", "only rows whose name starts with this, such as packs")
	fs.DurationVar(&s.length, "for", 5*time.Second, "length of one measurement")
	fs.DurationVar(&s.warmup, "warmup", time.Second, "load before it that does not count")
	bench.Positive(fs, &s.rounds, "rounds", 3, "measurements of each row; the table has the medians")
	bench.Positive(fs, &s.shards, "shards", 1, "shards that the publisher spreads over; single and async use the first only")
	bench.Positive(fs, &s.servers, "servers", 1, "1, or a cluster of 3 or 5 with that many replicas")
	bench.Positive(fs, &s.processes, "processes", 1, "publishing processes, each with all the -senders")
	fs.Var(&s.sizes, "sizes", "bytes per mail")
	fs.Var(&s.senders, "senders", "mails that wait for the log at once, in each process")
	fs.BoolVar(&s.fsyncs, "fsyncs", true, "count the fsyncs of synced rows (needs strace)")
	if err := fs.Parse(args); err != nil {
		return s, err
	}
	switch {
	case fs.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case s.servers != 1 && s.servers != 3 && s.servers != 5:
		return s, fmt.Errorf("-servers %d: 1, 3 or 5", s.servers)
	case s.length <= 0:
		return s, fmt.Errorf("-for %v: more than nothing", s.length)
	case s.warmup < 0:
		return s, fmt.Errorf("-warmup %v: not less than nothing", s.warmup)
	case len(s.rows()) == 0:
		return s, fmt.Errorf("-only %q: no row's name starts with this", s.only)
	}
	return s, nil
}

func run(args []string) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s.server = bench.Path(s.server)
	dir, err := os.MkdirTemp(bench.Path(s.dir), "logbench")
	if err != nil {
		return fmt.Errorf("-dir: %w", err)
	}
	defer os.RemoveAll(dir)
	s.dir = dir
	if s.server == "" {
		bench.Progress("building nats-server")
		if s.server, err = server.Build(ctx, dir); err != nil {
			return err
		}
	}
	programs, err := build(ctx, s)
	if err != nil {
		return err
	}
	m := &measurer{settings: s, programs: programs}
	for _, size := range s.sizes {
		for _, senders := range s.senders {
			if err := m.table(ctx, point{size, senders}); err != nil {
				return err
			}
		}
	}
	return nil
}
