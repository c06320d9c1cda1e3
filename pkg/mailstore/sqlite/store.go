// Package sqlite keeps mail in one SQLite file, for machines without a database server. Other processes
// may read and write the file at the same time.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	_ "modernc.org/sqlite" // the database/sql driver "sqlite", without cgo

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/internal/meter"
	"github.com/sluice-mail/sluice/pkg/mailstore/internal/rows"
	"github.com/sluice-mail/sluice/pkg/mailstore/internal/sqlstore"
)

// Config is which file to use and how.
type Config struct {
	Path      string          // of the database file; created when missing
	Codec     mailstore.Codec // compression of bodies
	Retention time.Duration   // older mail is deleted and no longer stored; rounded up to days; 0 keeps all
	ReadOnly  bool            // for a process that only reads: never creates the file or writes to it
}

const (
	readers = 8
	// FULL: a commit is on disk when it returns. busy_timeout is first, because the others may have to wait already.
	pragmas = "_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=journal_size_limit(67108864)"
)

// common is PutBatch, PutOne, Reindex, Mail, Raw and Count: the same in every SQL database, but for what dialect gives it.
type common = sqlstore.Store

// Store implements mailstore.Store.
type Store struct {
	*common
	write     *sql.DB // one connection: SQLite has one writer at a time, and here they queue without polling
	read      *sql.DB
	packer    *mailstore.Packer
	retention time.Duration
	logger    *slog.Logger
	meter     *meter.Meter
}

var _ mailstore.Store = (*Store)(nil)

// Open opens the file, and creates it unless cfg.ReadOnly. The tables are made by Migrate.
func Open(cfg Config, logger *slog.Logger, reg prometheus.Registerer) (*Store, error) {
	if err := ensureFile(cfg); err != nil {
		return nil, err
	}
	packer, err := mailstore.NewPacker(cfg.Codec)
	if err != nil {
		return nil, err
	}
	s := &Store{packer: packer, retention: cfg.Retention, logger: logger, meter: meter.New(reg, classify)}
	name := "file:" + (&url.URL{Path: cfg.Path}).EscapedPath() + "?mode=rw&"
	// IMMEDIATE: a transaction that starts by reading and then writes could not wait for another writer.
	if s.write, err = sql.Open("sqlite", name+pragmas+"&_txlock=immediate"); err != nil {
		return nil, err
	}
	if s.read, err = sql.Open("sqlite", name+"_pragma=busy_timeout(10000)&_pragma=query_only(1)"); err != nil {
		return nil, err
	}
	s.common = sqlstore.New(s.dialect())
	s.write.SetMaxOpenConns(1)
	s.read.SetMaxOpenConns(readers)
	s.read.SetMaxIdleConns(readers)
	if cfg.ReadOnly {
		_, s.write = s.write.Close(), nil
		return s, nil
	}
	// When several processes switch a new file to WAL at the same time, SQLite reports at once that it is locked, and does not wait
	// for busy_timeout, because each would wait for the other.
	err = rows.Again(context.Background(), func() error { return classify("opening "+cfg.Path, s.write.Ping()) })
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// ensureFile makes an empty file that only we may read: it will hold other people's mail.
func ensureFile(cfg Config) error {
	flags := os.O_RDWR | os.O_CREATE
	if cfg.ReadOnly {
		flags = os.O_RDONLY
	}
	f, err := os.OpenFile(cfg.Path, flags, 0o600)
	if err != nil {
		return fmt.Errorf("opening the SQLite database: %w", err)
	}
	return f.Close()
}

// Ping implements mailstore.Store.
func (s *Store) Ping(ctx context.Context) error {
	var version int64
	if err := s.read.QueryRowContext(ctx, "SELECT COALESCE(MAX(version_id), 0) FROM "+schemaTable+" WHERE is_applied").Scan(&version); err != nil {
		return classify("checking SQLite", err)
	}
	return rows.Outdated("checking SQLite", version, migrations)
}

// Close implements mailstore.Store.
func (s *Store) Close() error {
	s.packer.Close()
	err := s.read.Close()
	if s.write != nil {
		err = errors.Join(err, s.write.Close())
	}
	return err
}

// mayWrite refuses a store that was opened for reading.
func (s *Store) mayWrite() error {
	if s.write != nil {
		return nil
	}
	return &mailstore.Error{Class: mailstore.Pause, Op: "writing to SQLite", Err: errors.New("opened for reading only")}
}
