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
	insertRaw   = "INSERT INTO mail_raw (id, part, parts, codec, size, sha256, stored, envelope, body) VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"
	insertInbox = "INSERT INTO inbox (mbox, id, rcpt, sender, hdr_from, hdr_to, subject, charset, content_type, has_attach, size, flags, ip, received) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"
	insertCount = "INSERT INTO counts (day, n) VALUES (?,1) ON CONFLICT (day) DO UPDATE SET n=n+1"
	updateInbox = "UPDATE inbox SET rcpt=?1, sender=?2, hdr_from=?3, hdr_to=?4, subject=?5, charset=?6, content_type=?7, has_attach=?8, flags=?9, ip=?10, received=?11 WHERE mbox=?12 AND id=?13" +
		" AND (rcpt, sender, hdr_from, hdr_to, subject, charset, content_type, has_attach, flags, ip, received) IS NOT (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
)

// dialect is what SQLite does in its own way.
func (s *Store) dialect() sqlstore.Dialect {
	return sqlstore.Dialect{
		Read: s.read, Packer: s.packer, Retention: s.retention, Meter: s.meter, Classify: classify,
		Transaction: s.transaction,
		Insert:      s.insert,
		Key:         "id=?",
		KeyArgs:     func(id ulid.ULID) []any { return []any{id[:]} },
		UpdateInbox: updateInbox,
		UpdateArgs:  updateArgs,
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

	raw, count *sql.Stmt
}

// insert writes a batch and returns how many of its mails were new.
func (s *Store) insert(ctx context.Context, tx *sql.Tx, b *rows.Batch) (stored int, err error) {
	w := writer{now: time.Now().UnixMilli(), packer: s.packer}
	if w.raw, err = tx.PrepareContext(ctx, insertRaw); err != nil {
		return 0, err
	}
	defer w.raw.Close()
	if w.count, err = tx.PrepareContext(ctx, insertCount); err != nil {
		return 0, err
	}
	defer w.count.Close()
	for i := range b.Mails {
		if err := w.mail(ctx, &b.Mails[i]); err != nil {
			return 0, err
		}
	}
	return w.stored, w.inbox(ctx, tx, b.Inbox)
}

func (w *writer) mail(ctx context.Context, m *rows.Mail) error {
	if !m.Large() {
		_, err := w.part(ctx, m, rows.Part{Codec: m.Codec, Body: m.Body})
		return err
	}
	// When its first part is there already, so is the rest, and nothing more is read of it.
	return m.EachPart(ctx, w.packer, func(p rows.Part) error {
		isNew, err := w.part(ctx, m, p)
		if err == nil && !isNew {
			return rows.ErrStop
		}
		return err
	})
}

// part writes a row of mail_raw, and counts the mail when it is a new one.
func (w *writer) part(ctx context.Context, m *rows.Mail, p rows.Part) (isNew bool, err error) {
	size, sha, envelope := m.OfWhole(p.Index)
	res, err := w.raw.ExecContext(ctx, m.ID[:], p.Index, m.Parts, uint8(p.Codec), size, sha, w.now, envelope, rows.NotNil(p.Body))
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	if err != nil || n == 0 || p.Index > 0 {
		return n > 0, err
	}
	w.stored++
	_, err = w.count.ExecContext(ctx, m.Day)
	return true, err
}

func (w *writer) inbox(ctx context.Context, tx *sql.Tx, inbox []rows.Inbox) error {
	insert, err := tx.PrepareContext(ctx, insertInbox)
	if err != nil {
		return err
	}
	defer insert.Close()
	for i := range inbox {
		e := &inbox[i]
		if _, err := insert.ExecContext(ctx, e.Mbox[:], e.ID[:], e.Mailbox, e.Sender, e.HdrFrom, e.HdrTo, e.Subject, e.Charset,
			e.ContentType, e.HasAttachment, e.Size, int64(e.Flags), rows.NotNil(e.IP.AsSlice()), e.Received.UnixMilli()); err != nil {
			return err
		}
	}
	return nil
}

// updateArgs is the parameters of updateInbox.
func updateArgs(e *rows.Inbox) []any {
	return []any{e.Mailbox, e.Sender, e.HdrFrom, e.HdrTo, e.Subject, e.Charset, e.ContentType, e.HasAttachment, int64(e.Flags),
		rows.NotNil(e.IP.AsSlice()), e.Received.UnixMilli(), e.Mbox[:], e.ID[:]}
}
