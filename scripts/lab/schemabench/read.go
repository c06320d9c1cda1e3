package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
)

// reading lists mailboxes, a different one each time where there are several. The first tenth only warms up. What the machine
// takes for asking nothing is told besides.
func (w *world) reading(ctx context.Context, t *targets) error {
	if w.warm {
		if err := w.read(ctx, "", "PRIMARY"); err != nil {
			return err
		}
	}
	if err := w.measure(ctx, t, "SELECT 1, to compare with", 0, 0, func(int) error { return w.db.QueryRowContext(ctx, "SELECT 1").Scan(new(int)) }); err != nil {
		return err
	}
	for _, kind := range []struct {
		name    string
		mailbox func(i int) string
		want    func(n int) bool
	}{
		{"list of a busy mailbox", func(int) string { return busy }, func(n int) bool { return n == mailstore.DefaultLimit }},
		{"list of any mailbox", func(int) string { return w.user() }, func(n int) bool { return n > 0 }},
		{"list of a mailbox with one old mail", func(i int) string { return fmt.Sprintf("old%d@example.com", i%oldOnes) }, func(n int) bool { return n == 1 }},
		{"list of an unknown mailbox", func(int) string { return fmt.Sprintf("nobody%d@example.com", rand.Int()) }, func(n int) bool { return n == 0 }},
	} {
		err := w.measure(ctx, t, kind.name, 1, 5, func(i int) error {
			entries, err := w.store.List(ctx, kind.mailbox(i), mailstore.Query{})
			if err == nil && !kind.want(len(entries)) {
				err = fmt.Errorf("%s: %d mails", kind.name, len(entries))
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// user is a mailbox with about ten mails. Some numbers are those of mails of the busy one.
func (w *world) user() string {
	for {
		if n := 1 + rand.IntN(w.rows); n%500 != 0 {
			return fmt.Sprintf("user%d@example.com", n*7919%w.users())
		}
	}
}

// measure runs fn many times, one after the other, and tells what each took, next to what the server had to do: that depends less
// on what else the machine does.
func (w *world) measure(ctx context.Context, t *targets, name string, p50, p99 float64, fn func(i int) error) error {
	bench.Progress("%s", name)
	var times []float64
	var before, after counters
	for i := range w.queries + w.queries/10 {
		if i == w.queries/10 {
			var err error
			if before, err = w.counters(ctx); err != nil {
				return err
			}
		}
		start := time.Now()
		if err := fn(i); err != nil {
			return err
		}
		if took := time.Since(start); i >= w.queries/10 {
			times = append(times, float64(took.Microseconds())/1000)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	after, err := w.counters(ctx)
	if err != nil {
		return err
	}
	slices.Sort(times)
	if n := float64(w.queries); p50 > 0 {
		t.most(name+", p50", at(times, 0.5), p50, " ms")
		t.most(name+", p99", at(times, 0.99), p99, " ms")
		t.tell("  processor time, pages read from disk", "%.0f µs, %.1f", (after.cpu-before.cpu)/n, (after.pages-before.pages)/n)
	} else {
		t.tell(name, "p50 %.2f ms, p99 %.2f ms", at(times, 0.5), at(times, 0.99))
	}
	return nil
}

func at(sorted []float64, part float64) float64 { return sorted[int(part*float64(len(sorted)-1))] }

// views asks what the ancestor's programs ask.
func (w *world) views(ctx context.Context, t *targets) error {
	ids, err := w.someIDs(ctx)
	if err != nil {
		return err
	}
	for _, column := range []struct {
		name  string
		value func(id ulid.ULID) any
	}{
		{"hash", func(id ulid.ULID) any { return hex.EncodeToString(id[:]) }},
		{"mail_id", func(id ulid.ULID) any { return mailID(id) }},
		{"recipient", func(ulid.ULID) any { return w.user() }},
	} {
		err := w.measure(ctx, t, "new_mail by "+column.name, 10, 10, func(int) error { return w.ask(ctx, column.name, column.value(ids[rand.IntN(len(ids))])) })
		if err != nil {
			return err
		}
	}
	return nil
}

func mailID(id ulid.ULID) (n uint64) {
	for _, b := range id[:8] {
		n = n<<8 | uint64(b)
	}
	return n
}

func (w *world) ask(ctx context.Context, column string, value any) error {
	found, err := w.db.QueryContext(ctx, "SELECT mail_id, subject, mail FROM new_mail WHERE "+column+" = ?", value)
	if err != nil {
		return err
	}
	defer found.Close()
	n := 0
	for ; found.Next(); n++ {
	}
	if n == 0 && found.Err() == nil {
		return fmt.Errorf("new_mail by %s: nothing for %v", column, value)
	}
	return found.Err()
}

// someIDs is ids of mails from every partition.
func (w *world) someIDs(ctx context.Context) (ids []ulid.ULID, err error) {
	for _, bound := range w.bounds {
		from := mailstore.FirstID(uint32(bound - 1 - rand.IntN(width/2)))
		if bound == w.bounds[len(w.bounds)-1] {
			from = mailstore.FirstID(uint32(bound - width))
		}
		found, err := w.db.QueryContext(ctx, "SELECT id FROM mail WHERE day=? AND id>=? ORDER BY id LIMIT 200", mailstore.Day(from), from[:])
		if err != nil {
			return nil, err
		}
		for found.Next() {
			var id ulid.ULID
			if err := found.Scan(&id); err != nil {
				return nil, err
			}
			ids = append(ids, id)
		}
		if err := found.Close(); err != nil {
			return nil, err
		}
	}
	return ids, nil
}
