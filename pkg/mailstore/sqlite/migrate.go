package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/internal/rows"
)

const (
	schemaTable = "sluice_version"
	// oldSchemaTable was that of versions before the first release.
	oldSchemaTable = "sluice_schema"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrate implements mailstore.Keeper. Each file is a transaction; a process that comes second fails, tries again, and
// finds the work done.
func (s *Store) Migrate(ctx context.Context) error {
	start := time.Now()
	err := rows.Again(ctx, func() error {
		err := classify("migrating the tables", s.migrate(ctx))
		if err != nil && mailstore.Classify(err) == mailstore.Unknown {
			return &mailstore.Error{Class: mailstore.Retry, Op: "migrating the tables", Err: err}
		}
		return err
	})
	return s.meter.Done("migrate", start, err)
}

func (s *Store) migrate(ctx context.Context) error {
	if err := s.mayWrite(); err != nil {
		return err
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	var old int
	if err := s.write.QueryRowContext(ctx, "SELECT COUNT(*) FROM sqlite_master WHERE name = ?", oldSchemaTable).Scan(&old); err != nil {
		return err
	}
	if old > 0 {
		return rows.Predates("migrating the tables")
	}
	// The provider is not closed: that would close our pool.
	provider, err := goose.NewProvider(goose.DialectSQLite3, s.write, files, goose.WithTableName(schemaTable),
		goose.WithDisableGlobalRegistry(true), goose.WithSlog(s.logger))
	if err != nil {
		return err
	}
	done, err := provider.Up(ctx)
	if err != nil {
		return err
	}
	if len(done) > 0 {
		s.logger.Info("tables migrated", "database", "sqlite", "migrations", len(done))
	}
	return nil
}

// Maintain implements mailstore.Keeper. There are no partitions to make here.
func (s *Store) Maintain(ctx context.Context) error {
	start := time.Now()
	var err error
	if oldest := s.Oldest(start); oldest > 0 {
		err = s.dropBefore(ctx, oldest)
	}
	return s.meter.Done("maintain", start, err)
}

// DropBefore implements mailstore.Keeper.
func (s *Store) DropBefore(ctx context.Context, day uint32) error {
	start := time.Now()
	return s.meter.Done("drop", start, s.dropBefore(ctx, day))
}

// dropBefore deletes in slices, so that new mail waits for none of them long. inbox goes first: a list without its
// mail would be worse than a mail without its list.
func (s *Store) dropBefore(ctx context.Context, day uint32) error {
	first := mailstore.FirstID(day)
	for _, slice := range []string{
		"DELETE FROM inbox WHERE (mbox, id) IN (SELECT mbox, id FROM inbox WHERE id < ? LIMIT 1000)",
		"DELETE FROM mail_raw WHERE rowid IN (SELECT rowid FROM mail_raw WHERE id < ? ORDER BY id LIMIT 200)",
		"DELETE FROM mail WHERE id IN (SELECT id FROM mail WHERE id < ? ORDER BY id LIMIT 1000)",
	} {
		for {
			n, err := s.deleteSlice(ctx, slice, first[:])
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
		}
	}
	return nil
}

func (s *Store) deleteSlice(ctx context.Context, query string, args ...any) (n int64, err error) {
	err = rows.Again(ctx, func() error {
		n, err = 0, s.transaction(ctx, func(tx *sql.Tx) error {
			res, err := tx.ExecContext(ctx, query, args...)
			if err == nil {
				n, err = res.RowsAffected()
			}
			return err
		})
		return classify("dropping old mail", err)
	})
	return n, err
}
