package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/internal/rows"
)

const inboxColumns = "id, rcpt, sender, hdr_from, hdr_to, subject, charset, content_type, has_attach, size, flags, ip, received"

// Inbox is mailstore.Reader's.
func (s *Store) Inbox(ctx context.Context, mailbox string, before ulid.ULID, limit int) ([]mailstore.Entry, error) {
	start := time.Now()
	mbox := mailstore.Mbox(mailbox)
	where, args := "mbox=?1 AND id<?2 ORDER BY id DESC LIMIT ?3", []any{mbox[:], before[:], limit}
	if before.IsZero() {
		where, args = "mbox=?1 ORDER BY id DESC LIMIT ?2", []any{mbox[:], limit}
	}
	entries, err := s.entries(ctx, where, args...)
	return entries, s.finish("inbox", start, err)
}

func (s *Store) entries(ctx context.Context, where string, args ...any) ([]mailstore.Entry, error) {
	found, err := s.read.QueryContext(ctx, "SELECT "+inboxColumns+" FROM inbox WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	var entries []mailstore.Entry
	for found.Next() {
		var e mailstore.Entry
		var ip []byte
		var flags, received int64
		if err := found.Scan(&e.ID, &e.Mailbox, &e.Sender, &e.HdrFrom, &e.HdrTo, &e.Subject, &e.Charset, &e.ContentType,
			&e.HasAttachment, &e.Size, &flags, &ip, &received); err != nil {
			return nil, err
		}
		e.IP, e.Flags, e.Received = rows.Addr(ip), uint64(flags), time.UnixMilli(received).UTC()
		entries = append(entries, e)
	}
	return entries, found.Err()
}

// Mail is mailstore.Reader's.
func (s *Store) Mail(ctx context.Context, id ulid.ULID) (mailstore.Stored, error) {
	start := time.Now()
	m, err := s.head(ctx, id)
	if err == nil {
		m.Entries, err = s.entriesOf(ctx, m)
	}
	return m, s.finish("mail", start, err)
}

// head reads part 0 without its body.
func (s *Store) head(ctx context.Context, id ulid.ULID) (mailstore.Stored, error) {
	m := mailstore.Stored{ID: id}
	var sum []byte
	var stored int64
	err := s.read.QueryRowContext(ctx, "SELECT parts, size, sha256, stored, envelope FROM mail_raw WHERE id=? AND part=0",
		id[:]).Scan(&m.Parts, &m.Size, &sum, &stored, &m.Envelope)
	if errors.Is(err, sql.ErrNoRows) {
		err = mailstore.ErrNotFound
	}
	copy(m.SHA256[:], sum)
	m.StoredAt = time.UnixMilli(stored).UTC()
	return m, err
}

// entriesOf finds the rows of a mail in inbox, whose key begins with the mailbox.
func (s *Store) entriesOf(ctx context.Context, m mailstore.Stored) ([]mailstore.Entry, error) {
	var entries []mailstore.Entry
	for _, mbox := range rows.Mboxes(m.Envelope) {
		e, err := s.entries(ctx, "mbox=? AND id=?", mbox[:], m.ID[:])
		if err != nil {
			return nil, err
		}
		entries = append(entries, e...)
	}
	return entries, nil
}

// Raw is mailstore.Reader's.
func (s *Store) Raw(ctx context.Context, id ulid.ULID, w io.Writer) error {
	start := time.Now()
	m, err := s.head(ctx, id)
	if err == nil {
		err = rows.Copy(w, m, s.packer, func(part int) ([]byte, mailstore.Codec, error) {
			return rows.ScanPart(s.read.QueryRowContext(ctx, "SELECT codec, body FROM mail_raw WHERE id=? AND part=?", id[:], part))
		})
	}
	return s.finish("raw", start, err)
}

// Count is mailstore.Auditor's.
func (s *Store) Count(ctx context.Context) (int64, error) {
	start := time.Now()
	var n int64
	err := s.read.QueryRowContext(ctx, "SELECT COALESCE(SUM(n), 0) FROM counts").Scan(&n)
	return n, s.finish("count", start, err)
}

// IDs is mailstore.Auditor's. It goes in pages, so that no result is open while fn is at work: an open one would keep
// the write-ahead log from being emptied.
func (s *Store) IDs(ctx context.Context, from, to ulid.ULID, fn func(mailstore.Row) error) error {
	condition := "id >= ?" // after the first page: >
	for {
		page, err := s.idsPage(ctx, condition, from, to)
		if err != nil {
			return classify("listing ids", err)
		}
		for _, r := range page {
			if err := fn(r); err != nil {
				return err
			}
		}
		if len(page) < rows.PageSize {
			return nil
		}
		condition, from = "id > ?", page[rows.PageSize-1].ID
	}
}

func (s *Store) idsPage(ctx context.Context, condition string, from, to ulid.ULID) ([]mailstore.Row, error) {
	return rows.Page(s.read.QueryContext(ctx, "SELECT id, size, sha256 FROM mail_raw WHERE "+condition+" AND id <= ? AND part=0 ORDER BY id LIMIT ?",
		from[:], to[:], rows.PageSize))
}
