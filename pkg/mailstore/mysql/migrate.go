package mysql

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/sluice-mail/sluice/pkg/mailstore/internal/rows"
)

const (
	schemaTable = "sluice_version"
	// oldSchemaTable was that of versions before the first release.
	oldSchemaTable = "sluice_schema"
)

// Each file has one statement, because DDL is not transactional: what a crash leaves behind is either all or nothing
// of a file. Files only ever add (expand); what is no longer used is removed a release later (contract), so that an
// old storer keeps working while a new one starts.
//
//go:embed migrations/*.sql
var migrations embed.FS

// Migrate implements mailstore.Keeper. A lock in a table keeps it to one process at a time; it is a lease, so that one which
// was killed does not hold up the others indefinitely.
func (s *Store) Migrate(ctx context.Context) error {
	start := time.Now()
	err := s.migrate(ctx)
	if err == nil {
		err = s.maintain(ctx, time.Now())
	}
	return s.meter.Done("migrate", start, err)
}

func (s *Store) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	var old int
	if err := s.read.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?", oldSchemaTable).Scan(&old); err != nil {
		return err
	}
	if old > 0 {
		return rows.Predates("migrating the tables")
	}
	locker, err := lock.NewMySQLTableLocker(lock.WithTableName(schemaTable+"_lock"),
		lock.WithTableLockTimeout(time.Second, 120))
	if err != nil {
		return err
	}
	// A separate pool, because the lock's heartbeat needs a second connection while the migration uses the first.
	pool := openPool(s.connector, 4)
	defer pool.Close()
	provider, err := goose.NewProvider(goose.DialectMySQL, pool, files, goose.WithTableName(schemaTable),
		goose.WithLocker(locker), goose.WithDisableGlobalRegistry(true), goose.WithSlog(s.logger))
	if err != nil {
		return err
	}
	done, err := provider.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrating the tables: %w", err)
	}
	if len(done) > 0 {
		s.logger.Info("tables migrated", "database", "mysql", "migrations", len(done))
	}
	return nil
}
