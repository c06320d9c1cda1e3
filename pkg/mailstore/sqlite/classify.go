package sqlite

import (
	"context"
	"errors"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/internal/rows"
)

func classify(op string, err error) error { return rows.Classify(op, err, classOf) }

func classOf(err error) (mailstore.Class, string) {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return mailstore.Reconnect, ""
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return mailstore.Unknown, ""
	}
	switch e.Code() & 0xff { // without the extension of the code
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_SCHEMA:
		return mailstore.Retry, ""
	case sqlite3.SQLITE_FULL:
		return mailstore.Pause, "the disk is full"
	case sqlite3.SQLITE_IOERR:
		return mailstore.Pause, "the disk is failing"
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_AUTH:
		return mailstore.Pause, "check that this user may write to the file and its directory"
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return mailstore.Pause, "the file is damaged: move it away, restart, and replay the log into the new file"
	case sqlite3.SQLITE_NOMEM:
		return mailstore.Pause, "out of memory"
	case sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE:
		return mailstore.Data, ""
	}
	// SQLITE_ERROR is everything that is wrong with a statement; only the text says what.
	for _, missing := range []string{"no such table", "no such column", "has no column"} {
		if strings.Contains(e.Error(), missing) {
			return mailstore.Pause, "the tables are not those of this version: run `storer migrate`"
		}
	}
	return mailstore.Unknown, ""
}
