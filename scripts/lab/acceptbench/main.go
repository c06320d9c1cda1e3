// Command acceptbench measures what accepting and storing a mail costs, next to Postfix's smtp-sink, which keeps
// nothing, in the same run with the same client (smtp-source on kept connections). Machines differ and are noisy: the
// ratios count, and of the figures CPU per mail is the steadiest.
//
//	acceptbench [-mails N] [-rounds R] [-conns C] [-sizes N,…]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

type config struct {
	mails, rounds, conns int
	sizes                string
}

func main() {
	var c config
	flag.IntVar(&c.mails, "mails", 10_000, "mails per measurement")
	flag.IntVar(&c.rounds, "rounds", 3, "measurements of each; the median counts")
	flag.IntVar(&c.conns, "conns", 64, "connections, kept open")
	flag.StringVar(&c.sizes, "sizes", "4096,20480", "bytes per mail")
	flag.Parse()
	if err := run(c); err != nil {
		fmt.Fprintln(os.Stderr, "acceptbench:", err)
		os.Exit(1)
	}
}

func run(c config) (err error) {
	dir, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binaries, err := fleet.Build(dir)
	if err != nil {
		return err
	}
	f, err := fleet.New(dir, binaries, 1, "LOG_LEVEL=warn")
	defer func() { err = errors.Join(err, f.Close()) }()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	if err := f.Start(ctx); err != nil {
		return err
	}
	sink, err := fleet.NewSink(dir)
	if err != nil {
		return err
	}
	if err := sink.Start(); err != nil {
		return err
	}
	defer sink.Kill()
	if err := listening(ctx, sink.Addrs["smtp"]); err != nil {
		return err
	}
	fmt.Printf("%d mails per measurement, %d kept connections, median of %d rounds; smtp-sink keeps nothing, Sluice syncs before each 250\n", c.mails, c.conns, c.rounds)
	for _, field := range strings.Split(c.sizes, ",") {
		size, err := strconv.Atoi(field)
		if err != nil {
			return fmt.Errorf("-sizes: %w", err)
		}
		var sinks, sluices []sample
		for range c.rounds {
			s, err := measureSink(ctx, c, sink, size)
			if err != nil {
				return err
			}
			l, err := measureSluice(ctx, c, f, size)
			if err != nil {
				return fmt.Errorf("%w\nthe ingress has logged:\n%s", err, f.Ingresses[0].Log())
			}
			sinks, sluices = append(sinks, s), append(sluices, l)
		}
		report(size, median(sinks), median(sluices))
	}
	return nil
}

// sample is one measurement. Rates are mails per second, the rest is CPU per mail.
type sample struct {
	accept, store                float64
	accepting                    time.Duration // of ingress and log, while nobody reads the log
	ingress, log, storer, others time.Duration
}

func median(samples []sample) sample {
	pick := func(of func(sample) float64) float64 {
		values := make([]float64, len(samples))
		for i, s := range samples {
			values[i] = of(s)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	cpu := func(of func(sample) time.Duration) time.Duration {
		return time.Duration(pick(func(s sample) float64 { return float64(of(s)) }))
	}
	return sample{
		accept: pick(func(s sample) float64 { return s.accept }), store: pick(func(s sample) float64 { return s.store }),
		accepting: cpu(func(s sample) time.Duration { return s.accepting }),
		ingress:   cpu(func(s sample) time.Duration { return s.ingress }), log: cpu(func(s sample) time.Duration { return s.log }),
		storer: cpu(func(s sample) time.Duration { return s.storer }), others: cpu(func(s sample) time.Duration { return s.others }),
	}
}

func report(size int, sink, l sample) {
	ratio := func(d time.Duration) float64 { return float64(d) / float64(max(1, sink.ingress)) }
	us := func(d time.Duration) string { return strconv.FormatInt(d.Microseconds(), 10) + " µs" }
	fmt.Printf("\n%d KB mails\n", size>>10)
	fmt.Printf("  smtp-sink                     %7.0f mails/s  CPU per mail %s\n", sink.accept, us(sink.ingress))
	fmt.Printf("  Sluice accepts                %7.0f mails/s  = %.2f× the rate\n", l.accept, l.accept/sink.accept)
	fmt.Printf("  CPU per mail: ingress + log   %9s  = %.2f×\n", us(l.accepting), ratio(l.accepting))
	fmt.Printf("  Sluice accepts and stores     %7.0f mails/s  = %.2f× the rate\n", l.store, l.store/sink.accept)
	fmt.Printf("  CPU per mail: ingress         %9s  = %.2f×\n", us(l.ingress), ratio(l.ingress))
	fmt.Printf("                ingress + log   %9s  = %.2f×\n", us(l.ingress+l.log), ratio(l.ingress+l.log))
	fmt.Printf("                storer          %9s\n", us(l.storer))
	fmt.Printf("                whole pipeline  %9s  = %.2f×  (with MariaDB, cachewarmer, memcached)\n",
		us(l.ingress+l.log+l.storer+l.others), ratio(l.ingress+l.log+l.storer+l.others))
}

// listening waits until something accepts connections there.
func listening(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// source sends the mails and returns how long that took.
func source(ctx context.Context, c config, addr string, size int) (time.Duration, error) {
	start := time.Now()
	out, err := exec.CommandContext(ctx, fleet.LookPath("smtp-source"), "-d", "-s", strconv.Itoa(c.conns), "-m", strconv.Itoa(c.mails),
		"-l", strconv.Itoa(size), "-f", "a@b.example", "-t", "u@example.com", "-N", addr).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("smtp-source: %w\n%s", err, out)
	}
	return time.Since(start), nil
}
