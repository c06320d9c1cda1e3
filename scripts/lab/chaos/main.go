// Command chaos runs the whole pipeline under steady load while its processes are killed and frozen at random, and then
// asks the audit for every single mail. It fails unless every recorded 250 is stored exactly once, byte for byte, or is
// a dead letter; and unless every other row belongs to a mail whose sender was left without a clear answer.
//
//	chaos --seed N (--faults M | --seconds S) [--storage]
//
// With --storage, and whenever --faults is given, what is stored is hurt, too (storage.go): a flipped bit in the log, a database
// restored from an older dump, a stream that is gone and made again, a clock a day ahead, … After each of these the audit
// has to name what is wrong, or heal it, and mail is accepted meanwhile.
//
// The same seed makes the same faults in the same order. It is run by scripts/chaos, which can also prove that it finds
// bugs: scripts/chaos --prove.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

type config struct {
	seed    uint64
	faults  int
	seconds int
	rate    int
	storage bool
	dumpAge time.Duration
	keep    bool
}

func main() {
	var c config
	flag.Uint64Var(&c.seed, "seed", 1, "same seed, same faults")
	flag.IntVar(&c.faults, "faults", 0, "how many faults; 0: as many as fit into -seconds")
	flag.IntVar(&c.seconds, "seconds", 60, "how long, when -faults is 0")
	flag.IntVar(&c.rate, "rate", 60, "mails per second to each ingress")
	flag.BoolVar(&c.storage, "storage", false, "also hurt what is stored (always with -faults); each kind once at least")
	flag.DurationVar(&c.dumpAge, "dump-age", 20*time.Second, "how old the dump is that the database is restored from")
	flag.BoolVar(&c.keep, "keep", false, "keep the directory with logs and records")
	flag.Parse()
	c.storage = c.storage || c.faults > 0
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, c); err != nil {
		fmt.Fprintln(os.Stderr, "chaos: FAILED:", err)
		os.Exit(1)
	}
}

// Two shards: one may be away.
const ingresses, shards = 2, 2

func run(ctx context.Context, c config) (err error) {
	dir, err := os.MkdirTemp("", "sluice-chaos-")
	if err != nil {
		return err
	}
	fmt.Printf("chaos: seed %d; building in %s\n", c.seed, dir)
	binaries, err := fleet.Build(dir)
	if err != nil {
		return err
	}
	f, err := fleet.New(dir, binaries, ingresses, "STREAM_SHARDS="+strconv.Itoa(shards))
	if err != nil {
		return errors.Join(err, f.Close())
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err == nil && !c.keep {
			err = os.RemoveAll(dir)
		} else {
			fmt.Println("chaos: logs and records are in", dir)
		}
	}()
	if err := within(ctx, 2*time.Minute, f.Start); err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	loads, err := startLoads(f, c)
	if err != nil {
		return err
	}
	defer loads.stop()
	injected, err := inject(ctx, f, loads, c)
	if err != nil {
		return err
	}
	loads.stop()
	fmt.Printf("chaos: %d faults; waiting for the lag to clear\n", injected)
	if err := within(ctx, 2*time.Minute, f.Ready); err != nil {
		return fmt.Errorf("coming back: %w", err)
	}
	if err := within(ctx, 4*time.Minute, func(ctx context.Context) error { return settled(ctx, f) }); err != nil {
		return fmt.Errorf("waiting for the storer: %w", err)
	}
	return judge(ctx, f, loads, injected)
}

func within(ctx context.Context, patience time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return do(ctx)
}
