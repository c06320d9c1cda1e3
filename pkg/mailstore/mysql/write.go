package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/internal/rows"
)

const (
	// ON DUPLICATE KEY UPDATE, not INSERT IGNORE: that one also alters or drops rows it does not like, silently.
	rawInsert   = "INSERT INTO mail_raw (day, id, part, parts, codec, size, sha256, stored, envelope, body) VALUES "
	rawRow      = "(?,?,?,?,?,?,?,?,?,?)"
	inboxInsert = "INSERT INTO inbox (mbox, id, day, rcpt, sender, hdr_from, hdr_to, subject, charset, content_type, has_attach, size, flags, ip, received) VALUES "
	inboxRow    = "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
	onDuplicate = " ON DUPLICATE KEY UPDATE day=day"

	maxRows  = 500     // of a statement: far below the limit of 65,535 parameters
	maxBytes = 8 << 20 // of a statement: with one part more, far below max_allowed_packet
	slots    = 16      // of a day in counts
)

// PutBatch is mailstore.Writer's.
func (s *Store) PutBatch(ctx context.Context, mails []mailstore.Mail) (mailstore.Result, error) {
	start := time.Now()
	result, err := s.put(ctx, mails)
	if err = s.finish("put_batch", start, err); err != nil {
		return mailstore.Result{}, err
	}
	s.meter.Stored(result)
	return result, nil
}

// PutOne is mailstore.Writer's.
func (s *Store) PutOne(ctx context.Context, mail mailstore.Mail) (mailstore.Result, error) {
	mail.Derived = mailstore.Derived{}
	return s.PutBatch(ctx, []mailstore.Mail{mail})
}

func (s *Store) put(ctx context.Context, mails []mailstore.Mail) (mailstore.Result, error) {
	batch, err := rows.Prepare(mails, rows.Oldest(s.retention, time.Now()), s.packer)
	if err != nil {
		return mailstore.Result{}, err
	}
	result := batch.Result
	if len(batch.Mails) == 0 {
		return result, nil
	}
	var stored int
	err = rows.Again(ctx, func() (err error) {
		stored, err = s.transaction(ctx, batch)
		return classify("storing mail", err)
	})
	if errors.Is(err, driver.ErrBadConn) && s.readOnly(ctx) {
		// The driver turns the read-only error into a bad connection, so that the next one may find the new primary.
		err = errReadOnly("storing mail")
	}
	result.New, result.Existing = stored, result.Existing+len(batch.Mails)-stored
	return result, err
}

// readOnly asks whether this is why the driver gave up a connection.
func (s *Store) readOnly(ctx context.Context) bool {
	var ro bool
	return s.read.QueryRowContext(ctx, "SELECT @@global.read_only").Scan(&ro) == nil && ro
}

// transaction writes a batch and returns how many of its mails were new.
func (s *Store) transaction(ctx context.Context, b *rows.Batch) (int, error) {
	var stored int
	err := rows.Transaction(ctx, s.write, func(tx *sql.Tx) error {
		w := writer{tx: tx, now: time.Now().UTC().Truncate(time.Millisecond), packer: s.packer}
		if err := w.mails(ctx, b.Mails); err != nil {
			return err
		}
		if err := w.inbox(ctx, b.Inbox); err != nil {
			return err
		}
		stored = w.stored
		return w.count(ctx)
	})
	return stored, err
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
}

type dayCount struct {
	day uint32
	n   int64
}

// mails writes mail_raw in the order of its key: small mails of a day together, a large mail part by part.
func (w *writer) mails(ctx context.Context, mails []rows.Mail) error {
	for i := range mails {
		m := &mails[i]
		if i > 0 && m.Day != mails[i-1].Day || m.Large() || w.rows == maxRows || w.bytes+len(m.Body) > maxBytes {
			if err := w.flushMails(ctx, mails, i); err != nil {
				return err
			}
		}
		if m.Large() {
			if err := w.large(ctx, m); err != nil {
				return err
			}
			continue
		}
		w.args = append(w.args, m.Day, m.ID[:], 0, 1, uint8(m.Codec), m.Size, m.SHA256[:], w.now, notNil(m.Envelope), notNil(m.Body))
		w.rows++
		w.bytes += len(m.Body) + len(m.Envelope)
	}
	return w.flushMails(ctx, mails, len(mails))
}

// flushMails sends what has been collected: the small mails before mails[end].
func (w *writer) flushMails(ctx context.Context, mails []rows.Mail, end int) error {
	if w.rows == 0 {
		return nil
	}
	n, err := w.insert(ctx, rawInsert, rawRow)
	if err != nil {
		return err
	}
	w.add(mails[end-1].Day, n)
	return nil
}

// large writes one large mail. When its first part is there already, so is the rest, and nothing more is read of it.
func (w *writer) large(ctx context.Context, m *rows.Mail) error {
	return m.EachPart(ctx, w.packer, func(p rows.Part) error {
		sha, envelope, size := m.SHA256[:], notNil(m.Envelope), m.Size
		if p.Index > 0 {
			sha, envelope, size = []byte{}, []byte{}, 0
		}
		w.args = append(w.args, m.Day, m.ID[:], p.Index, m.Parts, uint8(p.Codec), size, sha, w.now, envelope, notNil(p.Body))
		w.rows = 1
		n, err := w.insert(ctx, rawInsert, rawRow)
		if err != nil || p.Index > 0 {
			return err
		}
		w.add(m.Day, n)
		if n == 0 {
			return rows.ErrStop
		}
		return nil
	})
}

func (w *writer) inbox(ctx context.Context, inbox []rows.Inbox) error {
	for i := range inbox {
		e := &inbox[i]
		w.args = append(w.args, e.Mbox[:], e.ID[:], e.Day, []byte(e.Mailbox), []byte(e.Sender), e.HdrFrom, e.HdrTo, e.Subject,
			e.Charset, e.ContentType, e.HasAttachment, e.Size, e.Flags, notNil(e.IP.AsSlice()), e.Received)
		if w.rows++; w.rows < maxRows && i < len(inbox)-1 {
			continue
		}
		if _, err := w.insert(ctx, inboxInsert, inboxRow); err != nil {
			return err
		}
	}
	return nil
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

// notNil is b as the server has to see it: nil would be NULL.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Reindex is mailstore.Writer's.
func (s *Store) Reindex(ctx context.Context, mails []mailstore.Mail) (int, error) {
	start := time.Now()
	var changed int64
	err := rows.Again(ctx, func() error {
		changed = 0
		return classify("rewriting derived columns", rows.Transaction(ctx, s.write, func(tx *sql.Tx) (err error) {
			changed, err = reindex(ctx, tx, mails)
			return err
		}))
	})
	return int(changed), s.finish("reindex", start, err)
}

func reindex(ctx context.Context, tx *sql.Tx, mails []mailstore.Mail) (int64, error) {
	update, err := tx.PrepareContext(ctx, "UPDATE inbox SET rcpt=?, sender=?, hdr_from=?, hdr_to=?, subject=?, charset=?, content_type=?, has_attach=?, flags=?, ip=?, received=?"+
		" WHERE mbox=? AND id=? AND day=?")
	if err != nil {
		return 0, err
	}
	defer update.Close()
	var changed int64
	for _, e := range rows.InboxOf(mails) {
		res, err := update.ExecContext(ctx, []byte(e.Mailbox), []byte(e.Sender), e.HdrFrom, e.HdrTo, e.Subject, e.Charset, e.ContentType,
			e.HasAttachment, e.Flags, notNil(e.IP.AsSlice()), e.Received, e.Mbox[:], e.ID[:], e.Day)
		if err != nil {
			return 0, err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return 0, err
		}
		changed += n
	}
	return changed, nil
}
