// Command logbench measures what a 250 costs: mails into a real nats-server that syncs before it acknowledges,
// by the group commit of pkg/stream/publish and by other means, and the same without syncing.
//
//	group       the Publisher of pkg/stream/publish
//	single      one publish per mail, its acknowledgement awaited (`nats bench js pub sync`, many clients)
//	async       a plain loop with a window of that many unacknowledged publishes (`nats bench js pub async`)
//	atomic      a plain loop of atomic batches of 256, nothing else (`nats bench js pub batch`): the limit
//
// Every row of a table is measured in every round, so that a noisy machine is noisy for all of them.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-mail/sluice/scripts/lab/logbench/server"
)

type settings struct {
	binary  string
	dir     string
	seconds time.Duration
	rounds  int
	warmup  time.Duration
	shards  int
}

// row is one way to publish.
type row struct {
	name   string
	load   load
	synced bool
}

func rows() []row {
	return []row{
		{"group, synced", groupCommit, true},
		{"group, not synced", groupCommit, false},
		{"single, synced", singly, true},
		{"single, not synced", singly, false},
		{"async, synced", asyncLoop, true},
		{"async, not synced", asyncLoop, false},
		{"atomic, synced", atomicLoop, true},
		{"atomic, not synced", atomicLoop, false},
	}
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "logbench:", err)
		os.Exit(1)
	}
}

func run() error {
	var s settings
	var sizes, senders string
	flag.StringVar(&s.binary, "server", "", "nats-server to run; default: built from pkg's module")
	flag.StringVar(&s.dir, "dir", "", "where the stores go: the disk that is measured; default: the temporary directory")
	flag.DurationVar(&s.seconds, "for", 5*time.Second, "length of one measurement")
	flag.DurationVar(&s.warmup, "warmup", time.Second, "load before it that does not count")
	flag.IntVar(&s.rounds, "rounds", 3, "measurements of each row; the table has the medians")
	flag.IntVar(&s.shards, "shards", 1, "shards that group commit spreads over; the others use the first only")
	flag.StringVar(&sizes, "sizes", "20480,4096", "bytes per mail")
	flag.StringVar(&senders, "senders", "1,64,256", "mails that wait for the log at once")
	only := flag.String("only", "", "only rows whose name starts with this")
	even := flag.Bool("breakeven", false, "only measure from how many mails on an atomic batch is quicker")
	fsyncs := flag.Bool("fsyncs", true, "count the fsyncs of group commit (needs strace)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	dir, err := os.MkdirTemp(s.dir, "logbench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s.dir = dir
	if s.binary == "" {
		if s.binary, err = server.Build(ctx, dir); err != nil {
			return err
		}
	}
	for _, size := range numbers(sizes) {
		if *even {
			if err := breakEven(ctx, s, size); err != nil {
				return err
			}
			continue
		}
		for _, n := range numbers(senders) {
			if err := table(ctx, s, size, n, *only); err != nil {
				return err
			}
			if *fsyncs {
				if err := countFsyncs(ctx, s, size, n); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func numbers(list string) (n []int) {
	for _, s := range strings.Split(list, ",") {
		if i, err := strconv.Atoi(strings.TrimSpace(s)); err == nil {
			n = append(n, i)
		}
	}
	return n
}

// table measures all rows for one size and number of senders.
func table(ctx context.Context, s settings, size, senders int, only string) error {
	results := map[string][]result{}
	var version string
	for round := range s.rounds {
		for _, r := range rows() {
			if !strings.HasPrefix(r.name, only) || senders == 1 && !strings.HasPrefix(r.name, "group") && !strings.HasPrefix(r.name, "single") {
				continue
			}
			store := filepath.Join(s.dir, fmt.Sprintf("%d-%d-%d", size, senders, round))
			srv, err := server.Start(ctx, server.Options{Binary: s.binary, Store: store, SyncAlways: r.synced})
			if err != nil {
				return err
			}
			version = srv.Version()
			res, err := measure(ctx, s, srv, r, size, senders)
			srv.Stop()
			_ = os.RemoveAll(store)
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			results[r.name] = append(results[r.name], res)
		}
	}
	fmt.Printf("\n%d bytes, %d at once, nats-server %s, %d × %v, medians\n", size, senders, version, s.rounds, s.seconds)
	fmt.Printf("%-20s %9s %9s %9s %9s %12s %10s\n", "", "mails/s", "p50 ms", "p99 ms", "max ms", "log µs/mail", "mails/batch")
	for _, r := range rows() {
		if got := results[r.name]; len(got) > 0 {
			fmt.Printf("%-20s %s\n", r.name, median(got))
		}
	}
	ratio(results, "group, synced", "group, not synced")
	ratio(results, "group, synced", "single, synced")
	ratio(results, "group, synced", "atomic, synced")
	return nil
}

func median(list []result) result {
	sorted := slices.SortedFunc(slices.Values(list), func(a, b result) int { return cmp.Compare(a.rate, b.rate) })
	return sorted[len(sorted)/2]
}

// ratio compares two rows round by round, so that a machine that gets slower for a while is slower for both.
func ratio(results map[string][]result, a, b string) {
	var each []float64
	for i := range min(len(results[a]), len(results[b])) {
		each = append(each, results[a][i].rate/results[b][i].rate)
	}
	if len(each) == 0 {
		return
	}
	slices.Sort(each)
	fmt.Printf("  %s / %s = %.2f (%.2f to %.2f)\n", a, b, each[len(each)/2], each[0], each[len(each)-1])
}
