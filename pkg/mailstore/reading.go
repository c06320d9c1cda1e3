package mailstore

import (
	"context"
	"time"

	"github.com/oklog/ulid/v2"
)

// Query says which mails of a mailbox to list. The zero value means the newest.
type Query struct {
	Before   ulid.ULID // only older ones; the zero id: no bound
	After    ulid.ULID // only newer ones; the zero id: no bound
	Contains string    // only those with this in the subject or the sender, case ignored; "" means all
	Limit    int       // at most this many, newest first; 0 means DefaultLimit, and more than MaxLimit means MaxLimit
}

const (
	// DefaultLimit is the length of a list when a Query has none.
	DefaultLimit = 50
	// MaxLimit bounds a list.
	MaxLimit = 200
)

// Mailboxes reads mailboxes. It does not see mail that has been deleted from the mailbox.
type Mailboxes interface {
	// List lists a mailbox, newest first.
	List(ctx context.Context, mailbox string, q Query) ([]Entry, error)
	// StoredSince lists the mails of a mailbox that were stored at since or later, in the order of (Stored, ID), at most
	// limit. Mails become visible in the order in which they are stored, not in that of their ids.
	StoredSince(ctx context.Context, mailbox string, since time.Time, limit int) ([]Entry, error)
	// Find returns a mail and its line in a mailbox; ErrNotFound when it is not, or no longer, in that mailbox.
	// Stored.Entries has only that row: a reader never learns of the other mailboxes.
	Find(ctx context.Context, mailbox string, id ulid.ULID) (Stored, error)
}

// Deleter deletes mail for readers. A deleted mail leaves an emptied, marked row in its mailbox until its partition
// is dropped, so that a replay does not bring it back. Its bytes are deleted when no mailbox lists it any more.
type Deleter interface {
	// Delete deletes mails from a mailbox, in one transaction, and returns the ids it has deleted by this call. After an error
	// of class Reconnect it is not known whether they are deleted: deleting again makes sure of it.
	Delete(ctx context.Context, mailbox string, ids ...ulid.ULID) ([]ulid.ULID, error)
	// DeleteAll deletes all mails of a mailbox with ids <= upTo, a few hundred per transaction, and calls gone for each
	// transaction's ids after its commit. It returns how many it has deleted, also with an error.
	DeleteAll(ctx context.Context, mailbox string, upTo ulid.ULID, gone func([]ulid.ULID)) (int, error)
	// MarkSeen sets or clears the mark that a reader has opened a mail; ErrNotFound when it is not in the mailbox.
	MarkSeen(ctx context.Context, mailbox string, id ulid.ULID, seen bool) error
}
