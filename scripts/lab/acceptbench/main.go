// Command acceptbench measures what accepting and storing a mail costs each process, next to Postfix's smtp-sink, which
// keeps nothing, in the same run with the same client (smtp-source). Machines differ and are noisy: the ratios count,
// taken within each round, and of the figures processor time per mail is the steadiest.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

const usage = `
scripts/bench accept [flags]

What a mail costs: the whole pipeline, each service a process of its own, next to smtp-sink of Postfix, which keeps nothing.
Each round measures smtp-sink, then Sluice while nobody reads the log (accepting alone), then Sluice with everything
running until the last mail is stored and cached; the next round begins with the other one.

    scripts/bench accept                                         4 KB and 20 KB, kept connections and one per mail
    scripts/bench accept -modes per-mail -sizes 20480 -rounds 5
    scripts/bench accept -profile DIR                            CPU profiles beside it, from one more round

With several numbers of ingresses only accepting is measured, and compared: the same senders to one ingress, or spread
evenly over several, on the same log:

    scripts/bench accept -ingresses 1,4 -modes kept

Figures are medians, with min–max over the rounds in parentheses. A ratio is taken within each round.
"peak MiB" is the most memory a process has had since it started; storer and cachewarmer start anew in each round.`

const (
	kept    = "kept"
	perMail = "per-mail"
)

type config struct {
	mails, rounds, conns int
	sizes, ingresses     bench.Ints
	modes                bench.Words
	profile, logLevel    string
}

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "acceptbench:", err)
		os.Exit(1)
	}
}

func parse(args []string) (c config, err error) {
	fs := flag.NewFlagSet("acceptbench", flag.ContinueOnError)
	bench.Usage(fs, usage)
	c.sizes, c.ingresses = bench.Ints{4096, 20480}, bench.Ints{1}
	c.modes = bench.Words{Known: []string{kept, perMail}, List: []string{kept, perMail}}
	bench.Positive(fs, &c.mails, "mails", 10_000, "mails per measurement")
	bench.Positive(fs, &c.rounds, "rounds", 5, "measurements of each")
	bench.Positive(fs, &c.conns, "conns", 64, "connections at once, all ingresses together")
	fs.Var(&c.sizes, "sizes", "bytes per mail")
	fs.Var(&c.ingresses, "ingresses", "how many ingresses; several numbers are compared with the first")
	fs.Var(&c.modes, "modes", "kept: connections are kept open; per-mail: each mail has a connection of its own")
	fs.StringVar(&c.profile, "profile", "", "directory for CPU profiles of nats-server and the services")
	fs.StringVar(&c.logLevel, "log-level", "warn", "LOG_LEVEL of the services; their default is info, a line or two per connection")
	if err := fs.Parse(args); err != nil {
		return c, err
	}
	switch most := slices.Max(c.ingresses); {
	case fs.NArg() > 0:
		return c, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case c.conns < most:
		return c, fmt.Errorf("-conns %d: at least one for each of -ingresses %s", c.conns, &c.ingresses)
	case c.mails < c.conns:
		return c, fmt.Errorf("-mails %d: at least one for each of -conns %d", c.mails, c.conns)
	case c.profile != "" && len(c.ingresses) > 1:
		return c, fmt.Errorf("-profile: with one number of -ingresses")
	}
	if c.profile != "" {
		c.profile = bench.Path(c.profile)
		if err := os.MkdirAll(c.profile, 0o755); err != nil {
			return c, fmt.Errorf("-profile: %w", err)
		}
	}
	return c, nil
}

func run(args []string) (err error) {
	c, err := parse(args)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bench.Progress("building the services and nats-server")
	binaries, err := fleet.Build(dir)
	if err != nil {
		return err
	}
	bench.Progress("starting them, MariaDB and memcached")
	f, err := fleet.New(dir, binaries, slices.Max(c.ingresses), "LOG_LEVEL="+c.logLevel)
	defer func() { err = errors.Join(err, f.Close()) }()
	if err != nil {
		return err
	}
	if c.profile != "" {
		f.UseProfiles()
	}
	if err := f.Start(ctx); err != nil {
		return err
	}
	m := &measurer{config: c, fleet: f}
	if len(c.ingresses) > 1 {
		return m.compareIngresses(ctx)
	}
	return m.pipeline(ctx, dir)
}
