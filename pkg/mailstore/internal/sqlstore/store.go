// Package sqlstore has the part of a mailstore.Store that is the same for every SQL database. Packages mysql and sqlite
// embed it and provide a Dialect, which has the statements that differ.
package sqlstore

import (
	"context"
	"database/sql"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/internal/meter"
	"github.com/sluice-mail/sluice/pkg/mailstore/internal/rows"
)

// Dialect is what differs from one database to the other, and what a store was opened with.
type Dialect struct {
	Read      *sql.DB // the pool for queries
	Packer    *mailstore.Packer
	Retention time.Duration
	Meter     *meter.Meter

	// Transaction runs fn and commits.
	Transaction func(ctx context.Context, fn func(*sql.Tx) error) error
	// Insert writes a batch and returns how many of its mails were new.
	Insert func(ctx context.Context, tx *sql.Tx, batch *rows.Batch) (stored int, err error)
	// Key is the condition on the rows of a mail, in every table, and KeyArgs are its parameters.
	Key     string
	KeyArgs func(id ulid.ULID) []any
	// UpdateInbox is the statement that rewrites the derived columns of a row where they differ, and UpdateArgs are its
	// parameters.
	UpdateInbox string
	UpdateArgs  func(row *rows.Inbox) []any
	// List and StoredSince are those of mailstore.Mailboxes, without bounds of their own.
	List        func(ctx context.Context, mailbox string, q mailstore.Query) ([]mailstore.Entry, error)
	StoredSince func(ctx context.Context, mailbox string, since time.Time, limit int) ([]mailstore.Entry, error)
	// Lock is the end of a SELECT that locks the rows it reads against changes by others.
	Lock string
	// Uncount is the statement that subtracts one mail from counts; its parameter is the day.
	Uncount string
	// Classify wraps an error with what was being done and with its class.
	Classify func(op string, err error) error
	// Diagnose may replace an error by a more exact one; nil leaves every error as it is.
	Diagnose func(ctx context.Context, err error) error
}

// Store has the methods of a mailstore.Store that need nothing but a Dialect.
type Store struct {
	dialect  Dialect
	distrust atomic.Bool
}

// New makes a Store.
func New(d Dialect) *Store { return &Store{dialect: d} }
