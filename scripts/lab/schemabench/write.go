package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/mysql"
	"github.com/sluice-mail/sluice/pkg/mailstore/storetest"
	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

const (
	conns = 4
	batch = 128
	small = 2048
)

// mails makes mails of today for the mailboxes that are there.
func (w *world) mailsOf(prose *bench.Prose, n, size int) []mailstore.Mail {
	mails := make([]mailstore.Mail, n)
	for i := range mails {
		mails[i] = storetest.NewMail(time.Now(), prose.Bytes(size), w.user())
		mails[i].Verified = true
	}
	return mails
}

// stored is one round of storing.
type stored struct{ rate, cpu float64 }

// read reads indexes of inbox, so that they are in memory: in the last partition, or in all of them.
func (w *world) read(ctx context.Context, partition string, indexes ...string) error {
	// Else what is read once, as in this way, soon makes room.
	if _, err := w.root.ExecContext(ctx, "SET GLOBAL innodb_old_blocks_time=0"); err != nil {
		return err
	}
	for _, index := range indexes {
		bench.Progress("reading the index %s of inbox", index)
		column := map[string]string{"PRIMARY": "size", "rcpt": "LENGTH(rcpt)"}[index]
		if _, err := w.root.ExecContext(ctx, fmt.Sprintf("SELECT SUM(%s) FROM %s.inbox %s FORCE INDEX (%s)", column, full, partition, index)); err != nil {
			return err
		}
	}
	_, err := w.root.ExecContext(ctx, "SET GLOBAL innodb_old_blocks_time=1000")
	return err
}

// storing stores the same number of mails into the full tables and into empty ones, in turn. A round before the first warms up. The
// last partition is in memory, as it is where these mails were stored a moment ago.
func (w *world) storing(ctx context.Context, t *targets) error {
	if err := w.read(ctx, fmt.Sprintf("PARTITION (p%d)", w.bounds[len(w.bounds)-1]-width), "PRIMARY", "rcpt"); err != nil {
		return err
	}
	prose := bench.NewProse(rand.New(rand.NewPCG(1, 2)))
	var into, empty []stored
	for round := range w.rounds + 1 {
		mails := w.mailsOf(prose, w.mails, small)
		r, err := w.round(ctx, w.store, mails)
		if err != nil {
			return err
		}
		var e stored
		err = w.fresh(ctx, func(_ *sql.DB, s *mysql.Store) (err error) { e, err = w.round(ctx, s, mails); return err })
		if err != nil {
			return err
		}
		bench.Progress("storing: %.0f mails/s, %.0f µs of the server each; into empty tables %.0f, %.0f", r.rate, r.cpu, e.rate, e.cpu)
		if round > 0 {
			into, empty = append(into, r), append(empty, e)
		}
	}
	rate, cpu := func(r stored) float64 { return r.rate }, func(r stored) float64 { return r.cpu }
	t.tell("storing mails of 2 KB, mails/s", "%s, into empty tables %s", bench.Of(into, rate).Text(0), bench.Of(empty, rate).Text(0))
	t.tell("its processor time at the server, µs", "%s, into empty tables %s", bench.Of(into, cpu).Text(0), bench.Of(empty, cpu).Text(0))
	t.least("its rate of that into empty tables", bench.Ratio(into, rate, empty, rate).Median, 0.95, "")
	return nil
}

func (w *world) round(ctx context.Context, s *mysql.Store, mails []mailstore.Mail) (stored, error) {
	start := time.Now()
	before, err := fleet.CPU(w.server.PID())
	if err != nil {
		return stored{}, err
	}
	if _, err := put(ctx, s, mails, nil); err != nil {
		return stored{}, err
	}
	took := time.Since(start)
	after, err := fleet.CPU(w.server.PID())
	n := float64(len(mails))
	return stored{n / took.Seconds(), float64((after - before).Microseconds()) / n}, err
}

// put stores mails as storers do, until done says so or there are no more, and returns how long the slowest batch took.
func put(ctx context.Context, s *mysql.Store, mails []mailstore.Mail, done *atomic.Bool) (longest time.Duration, err error) {
	batches := slices.Collect(slices.Chunk(mails, batch))
	var next, slowest atomic.Int64
	var wg sync.WaitGroup
	failed := make(chan error, conns)
	for range conns {
		wg.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(batches) && (done == nil || !done.Load()); i = next.Add(1) - 1 {
				start := time.Now()
				if _, err := s.PutBatch(ctx, batches[i]); err != nil {
					failed <- err
					return
				}
				took := int64(time.Since(start))
				for old := slowest.Load(); took > old && !slowest.CompareAndSwap(old, took); old = slowest.Load() {
				}
			}
		})
	}
	wg.Wait()
	close(failed)
	return time.Duration(slowest.Load()), <-failed
}

// dropping drops the oldest partition of each table while mail is being stored.
func (w *world) dropping(ctx context.Context, t *targets) error {
	mails := w.mailsOf(bench.NewProse(rand.New(rand.NewPCG(3, 4))), 4*w.mails, small)
	oldest, dropped := 0, []string{"inbox", "mail_raw", "mail"} // in the store's order
	if err := w.db.QueryRowContext(ctx, "SELECT MIN(day) FROM mail").Scan(&oldest); err != nil {
		return err
	}
	var done atomic.Bool
	var longest time.Duration
	stopped := make(chan error, 1)
	go func() {
		var err error
		longest, err = put(ctx, w.store, mails, &done)
		stopped <- err
	}()
	before, err := w.store.Count(ctx)
	for n := before; err == nil && n < before+5*batch; n, err = w.store.Count(ctx) { // until it is under way
	}
	bench.Progress("dropping a partition of each table while mail is stored")
	var took []time.Duration
	for _, table := range dropped {
		start := time.Now()
		if err == nil {
			_, err = w.root.ExecContext(ctx, fmt.Sprintf("ALTER TABLE %s.%s DROP PARTITION p%d", full, table, oldest/width*width))
		}
		took = append(took, time.Since(start))
	}
	ran := len(stopped) == 0
	done.Store(true)
	if stopErr := <-stopped; err == nil {
		err = stopErr
	}
	if err == nil && !ran {
		err = errors.New("all mails were stored before the partitions were dropped")
	}
	if err != nil {
		return err
	}
	for i, table := range dropped {
		t.most("dropping a partition of "+table+" while storing", took[i].Seconds(), 1, " s")
	}
	t.tell("the slowest transaction meanwhile", "%.0f ms", float64(longest.Milliseconds()))
	return nil
}
