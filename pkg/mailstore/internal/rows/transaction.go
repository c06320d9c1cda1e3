package rows

import (
	"context"
	"database/sql"
	"fmt"
)

// Transaction runs fn and commits. When ctx ends before the commit, nothing is stored; the commit itself is not
// broken off, because then nobody would know whether it happened.
func Transaction(ctx context.Context, db *sql.DB, fn func(*sql.Tx) error) error {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	release := context.AfterFunc(ctx, cancel)
	defer release()
	tx, err := db.BeginTx(inner, nil)
	if err != nil {
		return broken(ctx, err)
	}
	// Also for a lock wait timeout, which undoes its statement only. Without effect after the commit.
	defer func() { _ = tx.Rollback() }()
	if err := fn(tx); err != nil {
		return broken(ctx, err)
	}
	if !release() {
		return ctx.Err()
	}
	return tx.Commit()
}

// broken adds that ctx has ended: the error alone would only say that the transaction is over.
func broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}
