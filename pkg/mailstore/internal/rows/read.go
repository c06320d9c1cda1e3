package rows

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

// Outdated is the error for tables whose version is older than the files of migrations/, which are numbered from 1.
func Outdated(op string, version int64, migrations fs.FS) error {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil || version >= int64(len(files)) {
		return err
	}
	return &mailstore.Error{Class: mailstore.Pause, Op: op, Hint: "run `storer migrate`",
		Err: fmt.Errorf("the tables are of version %d, this program needs %d", version, len(files))}
}

// Predates is the error for tables from before the first release, which no migration changes.
func Predates(op string) error {
	return &mailstore.Error{Class: mailstore.Pause, Op: op, Hint: "drop its tables or use another database, and then replay the log: storer replay --since 72h",
		Err: errors.New("the database has the tables of a version before the first release")}
}

// PageSize is how many mails a listing of ids reads at once.
const PageSize = 1000

// Page reads a page of id, size, sha256 and refs, and closes it.
func Page(found *sql.Rows, err error) ([]mailstore.Row, error) {
	if err != nil {
		return nil, err
	}
	defer found.Close()
	page := make([]mailstore.Row, 0, PageSize)
	for found.Next() {
		var r mailstore.Row
		var sum []byte
		var refs int
		if err := found.Scan(&r.ID, &r.Size, &sum, &refs); err != nil {
			return nil, err
		}
		copy(r.SHA256[:], sum)
		r.Erased = refs == 0
		page = append(page, r)
	}
	return page, found.Err()
}

// ScanPart reads codec and body of one part. A part that is not there is damage: its head was.
func ScanPart(found *sql.Row) (body []byte, codec mailstore.Codec, err error) {
	err = found.Scan(&codec, &body)
	if errors.Is(err, sql.ErrNoRows) {
		err = mailstore.ErrDamaged
	}
	return body, codec, err
}

// SelectEntries reads the lines of mailboxes that are not deleted, for Entries; further conditions follow.
const SelectEntries = "SELECT " + entryColumns + " FROM inbox i WHERE state<2 AND "

const entryColumns = "i.id, i.rcpt, i.sender, i.hdr_from, i.hdr_to, i.subject, i.charset, i.content_type, i.has_attach, i.size, i.flags, i.ip, i.received, i.stored, i.state"

// SelectFound reads a mail together with its line in one mailbox and its bytes, for Found: one round trip instead of four. key
// is the condition on the rows of a mail, whose parameters come three times: the first followed by the mailbox, and the last
// by mailstore.FoundBytes.
func SelectFound(key string) string {
	return "SELECT m.parts, m.size, m.sha256, m.stored, m.envelope, r.codec, r.body, " + entryColumns +
		" FROM (SELECT * FROM inbox WHERE " + key + " AND mbox=? AND state<2) i" +
		" CROSS JOIN (SELECT * FROM mail WHERE " + key + " AND refs>0) m" +
		" LEFT JOIN (SELECT * FROM mail_raw WHERE " + key + " AND part=0) r ON m.parts=1 AND m.size<=?"
}

// Found reads what SelectFound found.
func Found(row *sql.Row, id ulid.ULID, p *mailstore.Packer) (mailstore.Stored, error) {
	m, e := mailstore.Stored{ID: id}, mailstore.Entry{}
	var sum, body []byte
	var codec sql.Null[mailstore.Codec]
	err := scanEntry(row, &e, &m.Parts, &m.Size, &sum, Time(&m.StoredAt), &m.Envelope, &codec, &body)
	if errors.Is(err, sql.ErrNoRows) {
		err = mailstore.ErrNotFound
	}
	if err != nil {
		return m, err
	}
	copy(m.SHA256[:], sum)
	m.Entries = []mailstore.Entry{e}
	if !codec.Valid {
		return m, nil
	}
	var raw bytes.Buffer
	if Copy(&raw, m, p, func(int) ([]byte, mailstore.Codec, error) { return body, codec.V, nil }) == nil {
		m.Raw = raw.Bytes() // or not: who reads it by itself is told what is wrong with it
	}
	return m, nil
}

// The bits of inbox.state.
const (
	Seen    = 1
	Deleted = 2
)

// Entries reads what a query that begins with SelectEntries found, and closes it.
func Entries(found *sql.Rows, err error) ([]mailstore.Entry, error) {
	if err != nil {
		return nil, err
	}
	defer found.Close()
	var entries []mailstore.Entry
	for found.Next() {
		var e mailstore.Entry
		if err := scanEntry(found, &e); err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, found.Err()
}

// scanEntry reads other columns, and then those of an entry.
func scanEntry(row interface{ Scan(to ...any) error }, e *mailstore.Entry, before ...any) error {
	var ip []byte
	var state int
	err := row.Scan(append(before, &e.ID, &e.Mailbox, &e.Sender, &e.HdrFrom, &e.HdrTo, &e.Subject, &e.Charset, &e.ContentType,
		&e.HasAttachment, &e.Size, (*flags)(&e.Flags), &ip, Time(&e.Received), Time(&e.Stored), &state)...)
	e.IP, e.Seen = Addr(ip), state&Seen != 0
	return err
}

// flags is a column of 64 bits. SQLite has no unsigned numbers: there the highest bit is the sign.
type flags uint64

// Scan implements sql.Scanner.
func (f *flags) Scan(column any) error {
	switch v := column.(type) {
	case uint64:
		*f = flags(v)
	case int64:
		*f = flags(v)
	default:
		return fmt.Errorf("flags are %T in the database", column)
	}
	return nil
}

// Time makes a point in time readable from a column: a DATETIME in MySQL, Unix milliseconds in SQLite.
func Time(t *time.Time) sql.Scanner { return (*moment)(t) }

type moment time.Time

// Scan implements sql.Scanner.
func (m *moment) Scan(column any) error {
	switch v := column.(type) {
	case time.Time:
		*m = moment(v)
	case int64:
		*m = moment(time.UnixMilli(v).UTC())
	default:
		return fmt.Errorf("a time is %T in the database", column)
	}
	return nil
}
