package main

import (
	"context"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

const audited = 200_000

// auditing reads as an audit does, and asks the server which tables it has read for that.
func (w *world) auditing(ctx context.Context, t *targets) error {
	bench.Progress("auditing")
	day := mailstore.Day(mailstore.IDAt(time.Now())) - 10
	from, to := mailstore.FirstID(day), mailstore.LastID()
	before, err := w.counters(ctx)
	if err != nil {
		return err
	}
	err = w.summing(ctx, t, "audit: Sum of the last ten days, a mail", func() (int64, error) {
		sum, err := w.store.Sum(ctx, from, to)
		return sum.Mails, err
	})
	if err != nil {
		return err
	}
	err = w.summing(ctx, t, "audit: SumLines of them, a line", func() (int64, error) {
		sum, err := w.store.SumLines(ctx, from, to)
		return sum.Lines, err
	})
	if err != nil {
		return err
	}
	if err := w.named(ctx, t, day); err != nil {
		return err
	}
	after, err := w.counters(ctx)
	if err != nil {
		return err
	}
	t.most("audit: rows of mail_raw that were read", after.bodies-before.bodies, 0, "")
	return nil
}

// summing tells what one sum takes.
func (w *world) summing(ctx context.Context, t *targets, name string, sum func() (int64, error)) error {
	before, err := w.counters(ctx)
	if err != nil {
		return err
	}
	start := time.Now()
	n, err := sum()
	if err != nil {
		return err
	}
	took := time.Since(start)
	after, err := w.counters(ctx)
	if err != nil {
		return err
	}
	per := float64(max(1, n))
	t.tell(name, "%.2f µs, of the processor %.2f, pages read from disk %.4f; %d in all", float64(took.Microseconds())/per,
		(after.cpu-before.cpu)/per, (after.pages-before.pages)/per, n)
	return nil
}

// named asks for the sum of mails by their ids, and for the lines of mailboxes.
func (w *world) named(ctx context.Context, t *targets, day uint32) error {
	var ids []ulid.ULID
	var lines []mailstore.Line
	found, err := w.db.QueryContext(ctx, "SELECT mbox, id FROM inbox WHERE day>=? LIMIT ?", day, audited)
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		var l mailstore.Line
		var mbox []byte
		if err := found.Scan(&mbox, &l.ID); err != nil {
			return err
		}
		copy(l.Mbox[:], mbox)
		lines, ids = append(lines, l), append(ids, l.ID)
	}
	if err := found.Err(); err != nil {
		return err
	}
	start := time.Now()
	sum, err := w.store.SumOf(ctx, ids)
	if err != nil || sum.Mails != int64(len(ids)) {
		return fmt.Errorf("%d of %d mails: %w", sum.Mails, len(ids), err)
	}
	t.tell("audit: SumOf", "%.2f µs a mail", float64(time.Since(start).Microseconds())/float64(len(ids)))
	start = time.Now()
	n, err := w.store.Lines(ctx, lines)
	if err != nil || n != len(lines) {
		return fmt.Errorf("%d of %d lines: %w", n, len(lines), err)
	}
	t.tell("audit: Lines", "%.2f µs a line", float64(time.Since(start).Microseconds())/float64(len(lines)))
	return nil
}

// counters is what the server has done so far: rows of mail_raw and pages it has read, and microseconds of processor time.
type counters struct{ bodies, pages, cpu float64 }

func (w *world) counters(ctx context.Context) (c counters, err error) {
	used, err := fleet.CPU(w.server.PID())
	if err != nil {
		return c, err
	}
	c.cpu = float64(used.Microseconds())
	err = w.root.QueryRowContext(ctx, "SELECT (SELECT COALESCE(SUM(ROWS_READ), 0) FROM information_schema.TABLE_STATISTICS WHERE TABLE_SCHEMA=? AND TABLE_NAME='mail_raw'),"+
		" (SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME='INNODB_BUFFER_POOL_READS')", full).Scan(&c.bodies, &c.pages)
	return c, err
}
