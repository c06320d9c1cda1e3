// Package mysql keeps mail in MySQL or MariaDB. It uses only SQL that both MySQL 8.4 and MariaDB 10.11 support.
package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/internal/meter"
	"github.com/sluice-mail/sluice/pkg/mailstore/internal/rows"
	"github.com/sluice-mail/sluice/pkg/mailstore/internal/sqlstore"
)

// Config is how to reach and use the server.
type Config struct {
	DSN       string          // of go-sql-driver/mysql; the parameters we need override it
	Conns     int             // connections for writing, and as many for reading; 0 means 4
	Codec     mailstore.Codec // how bodies are packed
	Retention time.Duration   // mails older are not stored, and are dropped; rounded up to days; 0 keeps all
}

// common is PutBatch, PutOne, Reindex, Mail, Raw and Count: the same in every SQL database, but for what dialect gives it.
type common = sqlstore.Store

// Store implements mailstore.Store.
type Store struct {
	*common
	write     *sql.DB          // binary protocol: bodies are sent as they are, half the CPU of escaping them into the SQL
	read      *sql.DB          // parameters in the SQL: one round trip less
	connector driver.Connector // for changing tables
	packer    *mailstore.Packer
	retention time.Duration
	logger    *slog.Logger
	meter     *meter.Meter
}

var _ mailstore.Store = (*Store)(nil)

// Open prepares the connections. It does not fail when the server is down; Ping and the first query do.
func Open(cfg Config, logger *slog.Logger, reg prometheus.Registerer) (*Store, error) {
	dsn, err := parseDSN(cfg.DSN)
	if err != nil {
		return nil, err
	}
	dsn.Logger = quiet{} // the driver would write broken connections to standard error; they come as errors as well
	packer, err := mailstore.NewPacker(cfg.Codec)
	if err != nil {
		return nil, err
	}
	s := &Store{packer: packer, retention: cfg.Retention, logger: logger, meter: meter.New(reg, classify)}
	if s.connector, err = newConnector(dsn, false); err != nil {
		return nil, err
	}
	reading, err := newConnector(dsn, true)
	if err != nil {
		return nil, err
	}
	if dsn, err = binary(dsn); err != nil {
		return nil, err
	}
	writing, err := newConnector(dsn, false)
	if err != nil {
		return nil, err
	}
	s.write, s.read = openPool(writing, cfg.Conns), openPool(reading, cfg.Conns)
	s.common = sqlstore.New(s.dialect())
	return s, nil
}

func openPool(c driver.Connector, conns int) *sql.DB {
	db := sql.OpenDB(c)
	if conns <= 0 {
		conns = 4
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	db.SetConnMaxLifetime(3 * time.Minute) // so that a failover behind a name or proxy is noticed
	return db
}

type quiet struct{}

func (quiet) Print(...any) {}

// Ping implements mailstore.Store.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.ping(ctx); err != nil {
		return classify("checking MySQL", err)
	}
	return nil
}

func (s *Store) ping(ctx context.Context) error {
	var version int64
	var readOnly bool
	// Not with MAX(): beside an aggregate, MariaDB says that read_only is 0.
	err := s.read.QueryRowContext(ctx, "SELECT version_id, @@global.read_only FROM "+schemaTable+
		" WHERE is_applied = 1 ORDER BY version_id DESC LIMIT 1").Scan(&version, &readOnly)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if err := rows.Outdated("checking MySQL", version, migrations); err != nil {
		return err
	}
	if readOnly {
		return errReadOnly("checking MySQL")
	}
	return nil
}

func errReadOnly(op string) error {
	return &mailstore.Error{Class: mailstore.Pause, Op: op, Err: errors.New("the server is read-only"), Hint: readOnlyHint}
}

// Close implements mailstore.Store.
func (s *Store) Close() error {
	s.packer.Close()
	return errors.Join(s.write.Close(), s.read.Close())
}
