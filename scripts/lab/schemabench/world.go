package main

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"

	mysqldriver "github.com/go-sql-driver/mysql"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/mysql"
	"github.com/sluice-mail/sluice/pkg/mailstore/mysql/mysqltest"
	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
)

// world is the server, its full database, and a store on it.
type world struct {
	settings
	server *mysqltest.Server
	dir    string
	root   *sql.DB // for what the store does not offer
	db     *sql.DB
	store  *mysql.Store
	bounds []int // of the partitions, ascending: each has the days below
}

const full = "full"

// perMail is what a mail takes on disk, with the room that the server needs besides.
const perMail = 1250

func (s settings) open(ctx context.Context) (_ *world, err error) {
	w := &world{settings: s, dir: bench.Path(s.keep)}
	if w.dir == "" {
		w.dir, err = os.MkdirTemp("", "schemabench-")
	} else {
		err = os.MkdirAll(w.dir, 0o700)
	}
	if err != nil {
		return nil, err
	}
	if err := w.room(); err != nil {
		return nil, err
	}
	bench.Progress("starting MariaDB in %s", w.dir)
	w.server, err = mysqltest.At(w.dir, "--innodb-buffer-pool-size="+s.pool, "--innodb-log-file-size=1G", "--innodb-flush-log-at-trx-commit=2",
		"--general-log-file=queries", "--tmpdir="+w.dir)
	if err != nil {
		w.close()
		return nil, err
	}
	if err := w.connect(ctx); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// room asks for free disk before the filling finds that there is none.
func (w *world) room() error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(w.dir, &fs); err != nil {
		return err
	}
	free, need := float64(fs.Bavail)*float64(fs.Bsize)/1e9, (float64(w.rows)*perMail+3e9)/1e9
	if _, err := os.Stat(w.dir + "/data/" + full); err == nil {
		return nil // it is filled, or was about to be
	}
	if free < need {
		return fmt.Errorf("needs %.0f GB of disk in %s, and %.0f are free; -rows takes fewer mails", need, w.dir, free)
	}
	bench.Progress("needs %.0f GB of disk in %s, %.0f are free", need, w.dir, free)
	return nil
}

func (w *world) connect(ctx context.Context) (err error) {
	if w.root, err = sql.Open("mysql", w.server.DSN("")); err != nil {
		return err
	}
	if _, err := w.root.ExecContext(ctx, "CREATE DATABASE IF NOT EXISTS "+full); err != nil {
		return err
	}
	if w.db, w.store, err = w.database(ctx, full); err != nil {
		return err
	}
	if err := w.fill(ctx); err != nil {
		return err
	}
	_, err = w.root.ExecContext(ctx, "SET GLOBAL innodb_flush_log_at_trx_commit=1, GLOBAL userstat=1")
	return err
}

// database opens a database, and a store on it with its tables made.
func (w *world) database(ctx context.Context, name string) (*sql.DB, *mysql.Store, error) {
	cfg, err := mysqldriver.ParseDSN(w.server.DSN(name))
	if err != nil {
		return nil, nil, err
	}
	cfg.InterpolateParams = true // as the store's own connections for reading
	c, err := mysqldriver.NewConnector(cfg)
	if err != nil {
		return nil, nil, err
	}
	store, err := mysql.Open(mysql.Config{DSN: w.server.DSN(name), Codec: mailstore.CodecZstd}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return nil, nil, err
	}
	db := sql.OpenDB(c)
	db.SetMaxIdleConns(conns)
	return db, store, store.Migrate(ctx)
}

// fresh makes an empty database for as long as fn runs.
func (w *world) fresh(ctx context.Context, fn func(*sql.DB, *mysql.Store) error) error {
	name := fmt.Sprintf("fresh_%d", time.Now().UnixNano())
	if _, err := w.root.ExecContext(ctx, "CREATE DATABASE "+name); err != nil {
		return err
	}
	defer func() { _, _ = w.root.ExecContext(context.WithoutCancel(ctx), "DROP DATABASE "+name) }()
	db, store, err := w.database(ctx, name)
	if err != nil {
		return err
	}
	defer db.Close()
	defer store.Close()
	return fn(db, store)
}

func (w *world) close() {
	if w.store != nil {
		_ = w.store.Close()
		_ = w.db.Close()
	}
	if w.root != nil {
		_ = w.root.Close()
	}
	if w.keep == "" {
		if w.server != nil {
			_ = w.server.Kill()
		}
		_ = os.RemoveAll(w.dir)
	} else if w.server != nil {
		_ = w.server.Stop()
	}
}
