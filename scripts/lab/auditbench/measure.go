package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/audit"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/mysql"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

// cost is processor time per mail of the storers; share is how often each mail was audited by all of them.
type cost struct {
	storing, soon, purge time.Duration
	share                float64
}

// cost has the mail stored and audited by that many storers, and then audits it the same way in this process, where its
// processor time can be told from everything else.
func (w *world) cost(ctx context.Context, storers int) (c cost, err error) {
	var all []*fleet.Process
	for i := range storers {
		all = append(all, w.fleet.NewStorer("storer-"+strconv.Itoa(i)))
	}
	defer func() {
		for _, p := range all {
			err = errors.Join(err, p.Kill())
		}
	}()
	for _, p := range all {
		if err := p.Start(); err != nil {
			return c, err
		}
	}
	bench.Progress("storing, by %d", storers)
	reader := stream.NewReader(w.nc)
	if err := until(ctx, func() (bool, error) {
		floor, err := reader.SettledUpTo(ctx, 0, stream.Storer)
		return floor >= w.last, err
	}); err != nil {
		return c, err
	}
	for _, p := range all {
		used, err := p.CPU()
		if err != nil {
			return c, err
		}
		c.storing += used / time.Duration(w.mails)
	}
	bench.Progress("waiting for their audits")
	audited := func() (n float64) {
		for _, p := range all {
			n += metric(ctx, p, "sluice_audit_mails_total")
		}
		return n
	}
	if err := until(ctx, func() (bool, error) { return audited() >= float64(w.mails), nil }); err != nil {
		return c, err
	}
	select { // the other storers' turn, if they had one
	case <-ctx.Done():
	case <-time.After(35 * time.Second):
	}
	c.share = audited() / float64(w.mails)
	heap := 0.0
	for _, p := range all {
		heap = max(heap, metric(ctx, p, "go_memstats_next_gc_bytes")/2)
		if err := p.Kill(); err != nil {
			return c, err
		}
	}
	bench.Progress("auditing the same here")
	return c, w.here(ctx, &c, int(heap))
}

const purgeStep = 128 << 20

// here audits as the storer does, all mail once after it was stored, and once before its purge. Beside a heap of the size of a
// storer's, collecting garbage costs what it costs there. One processor, because a storer's have other work whenever an audit
// waits; in an idle process two of them would spend a third of the time on looking for some.
func (w *world) here(ctx context.Context, c *cost, heap int) (err error) {
	db, err := w.open()
	if err != nil {
		return err
	}
	defer db.Close()
	ledger, err := stream.JetStream(w.nc).Stream(ctx, "KV_"+stream.AuditBucket)
	if err == nil {
		err = ledger.Purge(ctx) // as if nothing had been audited
	}
	if err != nil {
		return err
	}
	p := audit.NewPeriodic(w.nc, db, 0, nil, slog.New(slog.NewTextHandler(os.Stderr, nil)), prometheus.NewRegistry())
	runtime.GC() // what filling the log has left is no part of it,
	runtime.GC() // nor is sweeping it; a storer's memory is in use already
	ballast := make([]byte, heap)
	defer runtime.KeepAlive(ballast)
	stop, err := bench.Profile(w.profile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	before := self()
	if err := p.Round(ctx); err != nil {
		return err
	}
	after := self()
	for from := uint64(1); from <= w.last; {
		// As much at a time as the storer's retention purges.
		upTo, err := p.BeforePurge(ctx, stream.StreamName(0), from, min(from+uint64(purgeStep/w.size/w.inPack), w.last))
		if err != nil {
			return err
		}
		from = upTo + 1
	}
	c.soon, c.purge = (after-before)/time.Duration(w.mails), (self()-after)/time.Duration(w.mails)
	return nil
}

func (w *world) open() (mailstore.Store, error) {
	return mysql.Open(mysql.Config{DSN: w.fleet.DSN(), Conns: 4, Codec: mailstore.CodecZstd}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
}

// full measures sluicectl audit, and reading alone.
func (w *world) full(ctx context.Context) error {
	db, err := w.open()
	if err != nil {
		return err
	}
	defer db.Close()
	var table bench.Table
	table.Row("", "mails/s", "seconds", "MariaDB's µs/mail")
	row := func(name string, do func() error) error {
		bench.Progress("%s", name)
		from, was := time.Now(), cpu(w.fleet.MariaDB.PID())
		if err := do(); err != nil {
			return err
		}
		took := time.Since(from)
		table.Row(name, fmt.Sprintf("%.0f", float64(w.mails)/took.Seconds()), fmt.Sprintf("%.2f", took.Seconds()),
			micro((cpu(w.fleet.MariaDB.PID())-was)/time.Duration(w.mails)))
		return nil
	}
	ctl := func(args ...string) func() error {
		return func() error {
			out, err := w.fleet.Ctl(ctx, append([]string{"audit"}, args...)...)
			if err == nil && !strings.Contains(out, fmt.Sprintf("stored %d ", w.mails)) {
				err = fmt.Errorf("it says:\n%s", out)
			}
			return err
		}
	}
	err = errors.Join(row("reading log and database alone", func() error { return w.read(ctx, db) }),
		row("sluicectl audit", ctl()), row("sluicectl audit --deep", ctl("--deep")))
	fmt.Println()
	table.Write(os.Stdout)
	return err
}

// read is the reference: every head of the log and every row of the database, one after the other.
func (w *world) read(ctx context.Context, db mailstore.Store) error {
	heads, rows := 0, 0
	err := stream.NewReader(w.nc).Heads(ctx, stream.Bounds{From: 1, To: w.last}, func(stream.Head) error { heads++; return nil })
	if err == nil {
		err = db.IDs(ctx, ulid.ULID{}, mailstore.LastID(), func(mailstore.Row) error { rows++; return nil })
	}
	if err == nil && (heads != w.mails || rows != w.mails) {
		err = fmt.Errorf("%d heads and %d rows of %d mails", heads, rows, w.mails)
	}
	return err
}

func until(ctx context.Context, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// metric is one value of a storer, 0 while it has none.
func metric(ctx context.Context, p *fleet.Process, name string) float64 {
	_, text, err := p.Get(ctx, "/metrics")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(text) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			v, _ := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return v
		}
	}
	return 0
}

// cpu is what a process has used, 0 when that cannot be known.
func cpu(pid int) time.Duration {
	used, _ := fleet.CPU(pid)
	return used
}

// self is what this process has used, to the microsecond.
func self() time.Duration {
	var use syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &use)
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}
