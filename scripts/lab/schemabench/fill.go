package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
)

const (
	years   = 3
	width   = 90 // days of a partition when all mail is kept
	fillers = 8
	oldOnes = 500 // mailboxes with a single mail, half-way back: the oldest partition is dropped
	busy    = "busy@example.com"
)

// users is how many mailboxes there are besides: ten mails each.
func (w *world) users() int { return max(1, w.rows/10) }

// row is a mail of the filling as SQL, n being its number and ms its time: id, mailbox and so on follow from these.
const (
	idOf   = "UNHEX(CONCAT(LPAD(HEX(ms),12,'0'), LEFT(MD5(n),20)))"
	dayOf  = "ms DIV 86400000"
	timeOf = "FROM_UNIXTIME(ms DIV 1000)"
)

var tables = [][2]string{
	{"mail (day, id, size, sha256, parts, refs, stored, envelope)",
		dayOf + ", " + idOf + ", 2000, REPEAT(CHAR(n%256),32), 1, 1, " + timeOf + ", REPEAT('e',140)"},
	{"mail_raw (day, id, part, codec, body)", dayOf + ", " + idOf + ", 0, 1, REPEAT('b',32)"},
	{"inbox (mbox, id, day, state, rcpt, sender, hdr_from, hdr_to, subject, charset, content_type, has_attach, size, flags, ip, received, stored)",
		"LEFT(UNHEX(SHA2(rcpt,256)),16), " + idOf + ", " + dayOf + ", 0, rcpt, CONCAT('bounce-',n,'@news.example.net'), CONCAT('Shop ',n%1000,' <news@shop',n%1000,'.example.net>')," +
			" rcpt, CONCAT('Your order ',n,' is on its way and will be there soon'), 'utf-8', 'multipart/alternative', n%10=0, 2000, 0, 'abcd', " + timeOf + ", " + timeOf},
}

// job is the mails of a partition in one table, stored in one transaction.
type job struct {
	table      int
	from, to   int   // their numbers
	first, end int64 // their times
	partition  string
	old        bool // some of them are the single ones of their mailboxes
}

// fill makes the partitions of three years and the mails in them, a partition of a table at once: the server sorts them and makes
// the trees from their leaves. Those of mail and mail_raw grow at their end, and are full; lines come to inbox in any order, and
// leave a third of each page free. What was interrupted goes on.
func (w *world) fill(ctx context.Context) error {
	today := int(time.Now().UnixMilli() / 86_400_000)
	first := (today - years*365) / width * width
	for bound := first + width; bound <= today; bound += width {
		w.bounds = append(w.bounds, bound)
	}
	w.bounds = append(w.bounds, w.bounds[len(w.bounds)-1]+width)
	var have int
	if err := w.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM counts").Scan(&have); err != nil || have > 0 {
		return err
	}
	if err := w.partition(ctx); err != nil {
		return err
	}
	for i, factor := range []string{"100", "70"} {
		if _, err := w.root.ExecContext(ctx, "SET GLOBAL innodb_stats_auto_recalc=0, GLOBAL innodb_fill_factor="+factor); err != nil {
			return err
		}
		jobs := w.jobs(first, []int{0, 1})
		if i == 1 {
			jobs = w.jobs(first, []int{2})
		}
		if err := w.insertAll(ctx, jobs); err != nil {
			return err
		}
	}
	if _, err := w.db.ExecContext(ctx, "ANALYZE TABLE mail, mail_raw, inbox"); err != nil {
		return err
	}
	_, err := w.db.ExecContext(ctx, "INSERT INTO counts VALUES (1, 0, ?)", w.rows)
	return err
}

// partition makes those of the past: a database that had been there would have them.
func (w *world) partition(ctx context.Context) error {
	for _, table := range []string{"mail", "mail_raw", "inbox"} {
		var there int
		if err := w.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.PARTITIONS WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME=? AND PARTITION_NAME=?",
			table, fmt.Sprintf("p%d", w.bounds[0]-width)).Scan(&there); err != nil {
			return err
		}
		if there > 0 {
			continue
		}
		var list strings.Builder
		for _, bound := range w.bounds {
			fmt.Fprintf(&list, "PARTITION p%d VALUES LESS THAN (%d), ", bound-width, bound)
		}
		statement := "ALTER TABLE " + table + " PARTITION BY RANGE (day) (" + list.String() + "PARTITION pmax VALUES LESS THAN MAXVALUE)"
		if _, err := w.db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return w.store.Maintain(ctx) // those of the days ahead
}

// jobs spreads the mails over the partitions: most evenly, the current one gets its share. That one comes first, because it takes
// longest.
func (w *world) jobs(first int, tables []int) (jobs []job) {
	until, n := time.Now().Truncate(24*time.Hour).UnixMilli(), 1 // the same for each table, and when an interrupted filling goes on
	for i, bound := range w.bounds {
		count := (w.rows - w.current) / (len(w.bounds) - 1)
		if i == len(w.bounds)-1 {
			count = w.rows - n + 1
		}
		for _, table := range tables {
			j := job{table, n, n + count - 1, int64(max(first, bound-width)) * 86_400_000, min(until, int64(bound)*86_400_000), fmt.Sprintf("p%d", bound-width), i == len(w.bounds)/2}
			jobs = append(jobs, j)
		}
		n += count
	}
	slices.Reverse(jobs)
	return jobs
}

func (w *world) insertAll(ctx context.Context, jobs []job) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var next, done atomic.Int64
	var wg sync.WaitGroup
	failed := make(chan error, fillers)
	for range fillers {
		wg.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(jobs); i = next.Add(1) - 1 {
				start := time.Now()
				if err := w.insert(ctx, jobs[i]); err != nil {
					failed <- err
					cancel()
					return
				}
				bench.Progress("filled %d of %d: %d rows in %.0f s", done.Add(1), len(jobs), jobs[i].to-jobs[i].from+1, time.Since(start).Seconds())
			}
		})
	}
	wg.Wait()
	close(failed)
	return <-failed
}

func (w *world) insert(ctx context.Context, j job) error {
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	into, values := tables[j.table][0], tables[j.table][1]
	var there int
	if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM "+strings.Fields(into)[0]+" PARTITION ("+j.partition+") LIMIT 1) one").Scan(&there); err != nil || there > 0 {
		return err
	}
	if _, err := tx.ExecContext(ctx, "SET unique_checks=0, foreign_key_checks=0, time_zone='+00:00'"); err != nil {
		return err
	}
	rcpt := fmt.Sprintf("CASE WHEN seq%%500=0 THEN '%s' ELSE CONCAT('user', (seq*7919)%%%d, '@example.com') END", busy, w.users())
	if j.old {
		rcpt = fmt.Sprintf("CASE WHEN seq<%d THEN CONCAT('old', seq-%d, '@example.com') ELSE %s END", j.from+oldOnes, j.from, rcpt)
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("INSERT INTO %s SELECT %s FROM (SELECT seq n, %d + ((seq-%d)*%d) DIV %d ms, %s rcpt FROM seq_%d_to_%d) mails",
		into, values, j.first, j.from, j.end-j.first, j.to-j.from+1, rcpt, j.from, j.to)); err != nil {
		return err
	}
	return tx.Commit()
}
