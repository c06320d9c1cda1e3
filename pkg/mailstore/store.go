package mailstore

import (
	"context"
	"errors"
	"io"

	"github.com/oklog/ulid/v2"
)

// Store is everything a database can do for us. Services should ask for less: for the parts of it below.
type Store interface {
	Writer
	Reader
	Mailboxes
	Deleter
	Auditor
	Checker
	Keeper
	// Ping says whether mail could be stored now: server there, tables there, settings usable.
	Ping(ctx context.Context) error
	// Close waits for what is running and closes the database.
	Close() error
}

// Writer stores mail. The storer needs no more.
type Writer interface {
	// PutBatch stores all mails in one transaction, or none. It returns nil only after the commit. Mails that are there
	// already are left as they are, but for lines of mailboxes that are lost: those that the stored envelope names are put
	// back. Deadlocks and lost connections are tried again inside; what comes back is for Classify.
	PutBatch(ctx context.Context, mails []Mail) (Result, error)
	// PutOne stores one mail with empty derived columns: the last attempt before a mail becomes a dead letter.
	PutOne(ctx context.Context, mail Mail) (Result, error)
	// Probe stores a made-up mail as PutBatch does, the commit included, and removes it in the same transaction, so that
	// nobody ever sees it. nil means that the database takes mail now.
	Probe(ctx context.Context) error
	// Reindex rewrites the derived columns of mails that are stored, and says how many rows changed. It inserts nothing.
	Reindex(ctx context.Context, mails []Mail) (int, error)
}

// Reader finds mail.
type Reader interface {
	// Inbox lists a mailbox, newest first: at most limit mails older than before. The zero id means from the newest.
	Inbox(ctx context.Context, mailbox string, before ulid.ULID, limit int) ([]Entry, error)
	// Mail returns what is known about a mail, without its bytes; ErrNotFound when there is none.
	Mail(ctx context.Context, id ulid.ULID) (Stored, error)
	// Raw writes the bytes of a mail to w, a part at a time. An error after the first byte was written is possible:
	// size and SHA-256 are verified at the end, and a difference is ErrDamaged.
	Raw(ctx context.Context, id ulid.ULID, w io.Writer) error
}

// Auditor tells what is there.
type Auditor interface {
	// IDs calls fn for every mail with from <= id <= to, in order of id, in bounded memory. fn may take its time.
	IDs(ctx context.Context, from, to ulid.ULID, fn func(Row) error) error
	// Count is the number of mails ever stored, those meanwhile dropped included.
	Count(ctx context.Context) (int64, error)
}

// Keeper looks after the tables.
type Keeper interface {
	// Migrate brings the tables to the version of this program. Any number of processes may call it at once.
	Migrate(ctx context.Context) error
	// Maintain does the daily work: room for the days ahead, and dropping what Retention says. Call it every hour or so.
	Maintain(ctx context.Context) error
	// DropBefore drops the mails of the days before day (see Day). A store that drops whole partitions may keep some of
	// them until the next call.
	DropBefore(ctx context.Context, day uint32) error
	// Vitals is what the database says about itself.
	Vitals(ctx context.Context) (Vitals, error)
	// DistrustClock says whether this machine's clock is wrong. While it is, nothing expires: no mail is refused for its age,
	// and none is dropped.
	DistrustClock(distrust bool)
}

var (
	// ErrNotFound means that there is no such mail.
	ErrNotFound = errors.New("no such mail in the database")
	// ErrDamaged means that the stored bytes of a mail are not those that were accepted.
	ErrDamaged = errors.New("the stored bytes differ from the size or SHA-256 of the mail")
	// ErrMismatch means that the bytes handed in to be stored are not those the envelope speaks of.
	ErrMismatch = errors.New("the bytes of the mail differ from the size or SHA-256 given for it")
)
