package main

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"syscall"

	"github.com/sluice-mail/sluice/pkg/mailstore/mysql"
	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
)

// weighing stores mails of each size into empty tables and looks at how large the files are.
func (w *world) weighing(ctx context.Context, t *targets) error {
	prose := bench.NewProse(rand.New(rand.NewPCG(5, 6)))
	bytes := min(300<<20, int(w.rows)*200)
	for _, size := range []int{2048, 8704, 20480} {
		n := bytes / size
		bench.Progress("weighing %d mails of %d bytes", n, size)
		err := w.fresh(ctx, func(db *sql.DB, s *mysql.Store) error {
			empty, err := w.used(ctx, db)
			if err != nil {
				return err
			}
			if _, err := put(ctx, s, w.mailsOf(prose, n, size), nil); err != nil {
				return err
			}
			var packed float64
			if err := db.QueryRowContext(ctx, "SELECT SUM(LENGTH(body)) FROM mail_raw").Scan(&packed); err != nil {
				return err
			}
			full, err := w.used(ctx, db)
			if err != nil {
				return err
			}
			per := func(table string) float64 { return (full[table] - empty[table]) / float64(n) }
			t.tell(fmt.Sprintf("on disk, a mail of %.1f KB, in bytes", float64(size)/1024), "%.0f: mail %.0f, mail_raw %.0f, inbox %.0f; packed body %.0f",
				per("mail")+per("mail_raw")+per("inbox"), per("mail"), per("mail_raw"), per("inbox"), packed/float64(n))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// used is the bytes that the files of each table take on disk.
func (w *world) used(ctx context.Context, db *sql.DB) (map[string]float64, error) {
	used := map[string]float64{}
	var name string
	if err := db.QueryRowContext(ctx, "SELECT DATABASE()").Scan(&name); err != nil {
		return nil, err
	}
	for _, table := range []string{"mail", "mail_raw", "inbox"} {
		if _, err := db.ExecContext(ctx, "FLUSH TABLES "+table+" FOR EXPORT"); err != nil { // writes what is in memory only
			return nil, err
		}
		if _, err := db.ExecContext(ctx, "UNLOCK TABLES"); err != nil {
			return nil, err
		}
		files, err := filepath.Glob(filepath.Join(w.dir, "data", name, table+"#*.ibd"))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			var stat syscall.Stat_t
			if err := syscall.Stat(file, &stat); err != nil {
				return nil, err
			}
			used[table] += float64(stat.Blocks) * 512
		}
	}
	return used, nil
}
