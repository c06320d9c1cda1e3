package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/internal/rows"
	"github.com/sluice-mail/sluice/pkg/mailstore/internal/sqlstore"
)

const (
	// ON DUPLICATE KEY UPDATE, not INSERT IGNORE: that one also alters or drops rows it does not like, silently.
	mailInsert  = "INSERT INTO mail (day, id, size, sha256, parts, refs, stored, envelope) VALUES "
	mailRow     = "(?,?,?,?,?,?,?,?)"
	rawInsert   = "INSERT INTO mail_raw (day, id, part, codec, body) VALUES "
	rawRow      = "(?,?,?,?,?)"
	inboxInsert = "INSERT INTO inbox (mbox, id, day, state, rcpt, sender, hdr_from, hdr_to, subject, charset, content_type, has_attach, size, flags, ip, received, stored) VALUES "
	inboxRow    = "(?,?,?,0,?,?,?,?,?,?,?,?,?,?,?,?,?)"
	updateInbox = "UPDATE inbox SET rcpt=?, sender=?, hdr_from=?, hdr_to=?, subject=?, charset=?, content_type=?, has_attach=?, flags=?, ip=?, received=? WHERE mbox=? AND id=? AND day=? AND state<2"
	onDuplicate = " ON DUPLICATE KEY UPDATE day=day"
	mailKey     = "day=? AND id=?"

	maxRows  = 500     // of a statement: far below the limit of 65,535 parameters
	maxBytes = 8 << 20 // of a statement: with one part more, far below max_allowed_packet
	slots    = 16      // of a day in counts
)

// dialect is what MySQL does in its own way.
func (s *Store) dialect() sqlstore.Dialect {
	return sqlstore.Dialect{
		Read: s.read, Packer: s.packer, Retention: s.retention, Meter: s.meter, Classify: classify,
		Transaction: s.transaction,
		Insert:      s.insert,
		Key:         mailKey,
		KeyArgs:     keyArgs,
		UpdateInbox: updateInbox,
		UpdateArgs:  updateArgs,
		List:        s.list,
		StoredSince: s.storedSince,
		Uncount:     "UPDATE counts SET n=n-1 WHERE day=? AND n>0 ORDER BY slot LIMIT 1",
		Lock:        " FOR UPDATE",
		Diagnose:    s.diagnose,
	}
}

// keyArgs is the parameters of mailKey.
func keyArgs(id ulid.ULID) []any { return []any{mailstore.Day(id), id[:]} }

// diagnose finds out whether the driver closed a connection because the server has become read-only. The driver reports
// that as a bad connection, so that the next connection may find the new primary.
func (s *Store) diagnose(ctx context.Context, err error) error {
	var readOnly bool
	if !errors.Is(err, driver.ErrBadConn) || s.read.QueryRowContext(ctx, "SELECT @@global.read_only").Scan(&readOnly) != nil || !readOnly {
		return err
	}
	return errReadOnly("storing mail")
}

func (s *Store) transaction(ctx context.Context, fn func(*sql.Tx) error) error {
	return rows.Transaction(ctx, s.write, fn)
}

// insert writes a batch and returns how many of its mails were new.
func (s *Store) insert(ctx context.Context, tx *sql.Tx, b *rows.Batch) (int, error) {
	w := writer{tx: tx, now: time.Now().UTC().Truncate(time.Millisecond), packer: s.packer}
	// Storing a mail again changes nothing but lines of mailboxes that are lost: a mail that is there keeps its bytes (or none,
	// when it was deleted from every mailbox), and rows of inbox that are there, deleted or not, stay as they are.
	if err := w.mails(ctx, b.Mails); err != nil {
		return 0, err
	}
	if err := w.bodies(ctx, b.Mails); err != nil {
		return 0, err
	}
	if err := w.inbox(ctx, b.Inbox); err != nil {
		return 0, err
	}
	return w.stored, w.count(ctx)
}

// writer is the state of one transaction.
type writer struct {
	tx     *sql.Tx
	now    time.Time
	packer *mailstore.Packer

	args   []any // of the statement being collected
	rows   int
	bytes  int
	counts []dayCount // ascending days
	stored int
	known  rows.Known
}

type dayCount struct {
	day uint32
	n   int64
}

// mails writes the table mail in the order of its key, and learns which of them are there already.
func (w *writer) mails(ctx context.Context, mails []rows.Mail) error {
	for len(mails) > 0 {
		n := 0
		for ; n < len(mails) && n < maxRows && mails[n].Day == mails[0].Day && w.bytes < maxBytes; n++ {
			m := &mails[n]
			w.args = append(w.args, m.Day, m.ID[:], m.Size, m.SHA256[:], m.Parts, m.Refs, w.now, rows.NotNil(m.Envelope))
			w.rows++
			w.bytes += len(m.Envelope)
		}
		added, err := w.insert(ctx, mailInsert, mailRow)
		if err != nil {
			return err
		}
		w.add(mails[0].Day, added)
		if int(added) < n {
			if err := w.learn(ctx, mails[:n]); err != nil {
				return err
			}
		}
		mails = mails[n:]
	}
	return nil
}

// learn finds out which mails of a day were there before: those that were not stored now, or that no mailbox lists any more.
// Should another transaction have stored one in this very millisecond, its bytes are sent once more, and change nothing.
func (w *writer) learn(ctx context.Context, mails []rows.Mail) error {
	args := []any{mails[0].Day, w.now}
	for i := range mails {
		args = append(args, mails[i].ID[:])
	}
	found, err := w.tx.QueryContext(ctx, "SELECT id, envelope FROM mail WHERE day=? AND (stored<>? OR refs=0) AND id IN (?"+strings.Repeat(",?", len(mails)-1)+") FOR UPDATE", args...)
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		var id ulid.ULID
		var envelope []byte
		if err := found.Scan(&id, &envelope); err != nil {
			return err
		}
		w.known.Add(id, envelope)
	}
	return found.Err()
}

// bodies writes mail_raw for mails that are new, in the order of its key: small ones together, a large one part by part.
func (w *writer) bodies(ctx context.Context, mails []rows.Mail) error {
	for i := range mails {
		m := &mails[i]
		if _, known := w.known[m.ID]; known {
			continue
		}
		if m.Large() || w.rows == maxRows || w.bytes+len(m.Body) > maxBytes {
			if err := w.flush(ctx); err != nil {
				return err
			}
		}
		if m.Large() {
			if err := w.large(ctx, m); err != nil {
				return err
			}
			continue
		}
		w.args = append(w.args, m.Day, m.ID[:], 0, uint8(m.Codec), rows.NotNil(m.Body))
		w.rows++
		w.bytes += len(m.Body)
	}
	return w.flush(ctx)
}

// flush sends the bodies that have been collected.
func (w *writer) flush(ctx context.Context) error {
	if w.rows == 0 {
		return nil
	}
	_, err := w.insert(ctx, rawInsert, rawRow)
	return err
}

// large writes the parts of one large mail.
func (w *writer) large(ctx context.Context, m *rows.Mail) error {
	return m.EachPart(ctx, w.packer, func(p rows.Part) error {
		w.args = append(w.args, m.Day, m.ID[:], p.Index, uint8(p.Codec), rows.NotNil(p.Body))
		w.rows = 1
		return w.flush(ctx)
	})
}

// inbox writes the lines of mailboxes.
func (w *writer) inbox(ctx context.Context, inbox []rows.Inbox) error {
	lines, added := w.known.Lines(inbox), 0
	for i := range lines {
		e := &lines[i]
		w.args = append(w.args, e.Mbox[:], e.ID[:], e.Day, []byte(e.Mailbox), []byte(e.Sender), e.HdrFrom, e.HdrTo, e.Subject,
			e.Charset, e.ContentType, e.HasAttachment, e.Size, e.Flags, rows.NotNil(e.IP.AsSlice()), e.Received, w.now)
		if w.rows++; w.rows < maxRows && i < len(lines)-1 {
			continue
		}
		n, err := w.insert(ctx, inboxInsert, inboxRow)
		if err != nil {
			return err
		}
		added += int(n)
	}
	if added+w.known.Of(lines) <= len(lines) {
		return nil // all are of new mails
	}
	byHash := func(id ulid.ULID) []any { return []any{mailstore.Day(id), hex.EncodeToString(id[:])} } // there is no index by id
	return w.known.Recount(ctx, w.tx, rows.Condition{SQL: "day=? AND hash=?", Args: byHash}, rows.Condition{SQL: mailKey, Args: keyArgs})
}

// insert sends the collected rows as one statement, and returns how many were new: an existing row counts 0.
func (w *writer) insert(ctx context.Context, insert, row string) (int64, error) {
	query := insert + row + strings.Repeat(","+row, w.rows-1) + onDuplicate
	res, err := w.tx.ExecContext(ctx, query, w.args...)
	clear(w.args) // do not hold on to bodies
	w.args, w.rows, w.bytes = w.args[:0], 0, 0
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// add counts new mails of a day. Days come in ascending order.
func (w *writer) add(day uint32, n int64) {
	w.stored += int(n)
	if last := len(w.counts) - 1; last >= 0 && w.counts[last].day == day {
		w.counts[last].n += n
	} else if n > 0 {
		w.counts = append(w.counts, dayCount{day, n})
	}
}

// count updates the counters, last and in order, so that their locks are held for a moment only.
func (w *writer) count(ctx context.Context) error {
	slot := rand.IntN(slots)
	for _, c := range w.counts {
		if _, err := w.tx.ExecContext(ctx, "INSERT INTO counts (day, slot, n) VALUES (?,?,?) ON DUPLICATE KEY UPDATE n=n+?",
			c.day, slot, c.n, c.n); err != nil {
			return err
		}
	}
	return nil
}

// updateArgs is the parameters of updateInbox.
func updateArgs(e *rows.Inbox) []any {
	return []any{[]byte(e.Mailbox), []byte(e.Sender), e.HdrFrom, e.HdrTo, e.Subject, e.Charset, e.ContentType,
		e.HasAttachment, e.Flags, rows.NotNil(e.IP.AsSlice()), e.Received, e.Mbox[:], e.ID[:], e.Day}
}
