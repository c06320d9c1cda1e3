package sqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/internal/rows"
	"github.com/sluice-mail/sluice/pkg/mailstore/internal/sqlstore"
)

const (
	insertMail  = "INSERT INTO mail (id, size, sha256, parts, refs, stored, envelope) VALUES (?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"
	insertRaw   = "INSERT INTO mail_raw (id, part, codec, body) VALUES (?,?,?,?) ON CONFLICT DO NOTHING"
	insertInbox = "INSERT INTO inbox (mbox, id, state, rcpt, sender, hdr_from, hdr_to, subject, charset, content_type, has_attach, size, flags, ip, received, stored) VALUES (?,?,0,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"
	insertCount = "INSERT INTO counts (day, n) VALUES (?,1) ON CONFLICT (day) DO UPDATE SET n=n+1"
	mailKey     = "id=?"
	updateInbox = "UPDATE inbox SET rcpt=?1, sender=?2, hdr_from=?3, hdr_to=?4, subject=?5, charset=?6, content_type=?7, has_attach=?8, flags=?9, ip=?10, received=?11 WHERE mbox=?12 AND id=?13 AND state<2" +
		" AND (rcpt, sender, hdr_from, hdr_to, subject, charset, content_type, has_attach, flags, ip, received) IS NOT (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
)

// dialect is what SQLite does in its own way.
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
		Uncount:     "UPDATE counts SET n=n-1 WHERE day=?",
	}
}

// transaction runs fn and commits.
func (s *Store) transaction(ctx context.Context, fn func(*sql.Tx) error) error {
	if err := s.mayWrite(); err != nil {
		return err
	}
	return rows.Transaction(ctx, s.write, fn)
}

// writer is the state of one transaction.
type writer struct {
	now    int64
	packer *mailstore.Packer
	stored int
	known  rows.Known

	mail, raw, count *sql.Stmt
}

// insert writes a batch and returns how many of its mails were new.
func (s *Store) insert(ctx context.Context, tx *sql.Tx, b *rows.Batch) (stored int, err error) {
	w := writer{now: time.Now().UnixMilli(), packer: s.packer}
	for query, statement := range map[string]**sql.Stmt{insertMail: &w.mail, insertRaw: &w.raw, insertCount: &w.count} {
		if *statement, err = tx.PrepareContext(ctx, query); err != nil {
			return 0, err
		}
		defer (*statement).Close()
	}
	// Storing a mail again changes nothing but lines of mailboxes that are lost: a mail that is there keeps its bytes (or none,
	// when it was deleted from every mailbox), and rows of inbox that are there, deleted or not, stay as they are.
	for i := range b.Mails {
		if err := w.store(ctx, tx, &b.Mails[i]); err != nil {
			return 0, err
		}
	}
	return w.stored, w.inbox(ctx, tx, w.known.Lines(b.Inbox))
}

// store writes a mail and its bytes, and counts it, unless it is there.
func (w *writer) store(ctx context.Context, tx *sql.Tx, m *rows.Mail) error {
	res, err := w.mail.ExecContext(ctx, m.ID[:], m.Size, m.SHA256[:], m.Parts, m.Refs, w.now, rows.NotNil(m.Envelope))
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err != nil {
		return err
	}
	if n == 0 {
		var envelope []byte
		err := tx.QueryRowContext(ctx, "SELECT envelope FROM mail WHERE id=?", m.ID[:]).Scan(&envelope)
		w.known.Add(m.ID, envelope)
		return err
	}
	w.stored++
	if _, err := w.count.ExecContext(ctx, m.Day); err != nil {
		return err
	}
	part := func(p rows.Part) error {
		_, err := w.raw.ExecContext(ctx, m.ID[:], p.Index, uint8(p.Codec), rows.NotNil(p.Body))
		return err
	}
	if m.Large() {
		return m.EachPart(ctx, w.packer, part)
	}
	return part(rows.Part{Codec: m.Codec, Body: m.Body})
}

// inbox writes the lines of mailboxes.
func (w *writer) inbox(ctx context.Context, tx *sql.Tx, lines []rows.Inbox) error {
	insert, err := tx.PrepareContext(ctx, insertInbox)
	if err != nil {
		return err
	}
	defer insert.Close()
	added := 0
	for i := range lines {
		e := &lines[i]
		res, err := insert.ExecContext(ctx, e.Mbox[:], e.ID[:], e.Mailbox, e.Sender, e.HdrFrom, e.HdrTo, e.Subject, e.Charset,
			e.ContentType, e.HasAttachment, e.Size, int64(e.Flags), rows.NotNil(e.IP.AsSlice()), e.Received.UnixMilli(), w.now)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return err
		}
		added += int(n)
	}
	if added+w.known.Of(lines) <= len(lines) {
		return nil // all are of new mails
	}
	key := rows.Condition{SQL: mailKey, Args: keyArgs}
	return w.known.Recount(ctx, tx, key, key)
}

// keyArgs is the parameters of mailKey.
func keyArgs(id ulid.ULID) []any { return []any{id[:]} }

// updateArgs is the parameters of updateInbox.
func updateArgs(e *rows.Inbox) []any {
	return []any{e.Mailbox, e.Sender, e.HdrFrom, e.HdrTo, e.Subject, e.Charset, e.ContentType, e.HasAttachment, int64(e.Flags),
		rows.NotNil(e.IP.AsSlice()), e.Received.UnixMilli(), e.Mbox[:], e.ID[:]}
}
