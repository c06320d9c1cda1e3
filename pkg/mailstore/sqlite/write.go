package sqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/internal/rows"
)

const (
	insertRaw   = "INSERT INTO mail_raw (id, part, parts, codec, size, sha256, stored, envelope, body) VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"
	insertInbox = "INSERT INTO inbox (mbox, id, rcpt, sender, hdr_from, hdr_to, subject, charset, content_type, has_attach, size, flags, ip, received) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"
	insertCount = "INSERT INTO counts (day, n) VALUES (?,1) ON CONFLICT (day) DO UPDATE SET n=n+1"
	updateInbox = "UPDATE inbox SET rcpt=?1, sender=?2, hdr_from=?3, hdr_to=?4, subject=?5, charset=?6, content_type=?7, has_attach=?8, flags=?9, ip=?10, received=?11 WHERE mbox=?12 AND id=?13" +
		" AND (rcpt, sender, hdr_from, hdr_to, subject, charset, content_type, has_attach, flags, ip, received) IS NOT (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
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
	var w writer
	err = rows.Again(ctx, func() error {
		w = writer{now: time.Now().UnixMilli(), packer: s.packer}
		return classify("storing mail", s.transaction(ctx, func(tx *sql.Tx) error { return w.batch(ctx, tx, batch) }))
	})
	result.New, result.Existing = w.stored, result.Existing+len(batch.Mails)-w.stored
	return result, err
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

func (w *writer) batch(ctx context.Context, tx *sql.Tx, b *rows.Batch) (err error) {
	if w.raw, err = tx.PrepareContext(ctx, insertRaw); err != nil {
		return err
	}
	defer w.raw.Close()
	if w.count, err = tx.PrepareContext(ctx, insertCount); err != nil {
		return err
	}
	defer w.count.Close()
	for i := range b.Mails {
		if err := w.mail(ctx, &b.Mails[i]); err != nil {
			return err
		}
	}
	return w.inbox(ctx, tx, b.Inbox)
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
	sha, envelope, size := m.SHA256[:], notNil(m.Envelope), m.Size
	if p.Index > 0 {
		sha, envelope, size = []byte{}, []byte{}, 0
	}
	res, err := w.raw.ExecContext(ctx, m.ID[:], p.Index, m.Parts, uint8(p.Codec), size, sha, w.now, envelope, notNil(p.Body))
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
			e.ContentType, e.HasAttachment, e.Size, int64(e.Flags), notNil(e.IP.AsSlice()), e.Received.UnixMilli()); err != nil {
			return err
		}
	}
	return nil
}

// notNil is b as the database has to see it: nil would be NULL.
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
		return classify("rewriting derived columns", s.transaction(ctx, func(tx *sql.Tx) (err error) {
			changed, err = reindex(ctx, tx, mails)
			return err
		}))
	})
	return int(changed), s.finish("reindex", start, err)
}

func reindex(ctx context.Context, tx *sql.Tx, mails []mailstore.Mail) (int64, error) {
	update, err := tx.PrepareContext(ctx, updateInbox)
	if err != nil {
		return 0, err
	}
	defer update.Close()
	var changed int64
	for _, e := range rows.InboxOf(mails) {
		res, err := update.ExecContext(ctx, e.Mailbox, e.Sender, e.HdrFrom, e.HdrTo, e.Subject, e.Charset, e.ContentType,
			e.HasAttachment, int64(e.Flags), notNil(e.IP.AsSlice()), e.Received.UnixMilli(), e.Mbox[:], e.ID[:])
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
