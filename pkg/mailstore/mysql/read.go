package mysql

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

// Inbox is mailstore.Reader's. Every partition that a query touches costs, so it asks for the newest three days first.
func (s *Store) Inbox(ctx context.Context, mailbox string, before ulid.ULID, limit int) ([]mailstore.Entry, error) {
	start := time.Now()
	older := "id<?"
	if before.IsZero() {
		before, older = lastID(), "id<=?"
	}
	mbox := mailstore.Mbox(mailbox)
	recent := min(mailstore.Day(before), today(start))
	recent -= min(recent, 2)
	entries, err := s.entries(ctx, "mbox=? AND "+older+" AND day>=? ORDER BY id DESC LIMIT ?", mbox[:], before[:], recent, limit)
	if err == nil && len(entries) < limit {
		var rest []mailstore.Entry
		rest, err = s.entries(ctx, "mbox=? AND "+older+" AND day<? ORDER BY id DESC LIMIT ?", mbox[:], before[:], recent, limit-len(entries))
		entries = append(entries, rest...)
	}
	return entries, s.finish("inbox", start, err)
}

func lastID() (id ulid.ULID) {
	for i := range id {
		id[i] = 0xff
	}
	return id
}

func today(now time.Time) uint32 { return uint32(now.UnixMilli() / 86_400_000) }

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
		if err := found.Scan(&e.ID, &e.Mailbox, &e.Sender, &e.HdrFrom, &e.HdrTo, &e.Subject, &e.Charset, &e.ContentType,
			&e.HasAttachment, &e.Size, &e.Flags, &ip, &e.Received); err != nil {
			return nil, err
		}
		e.IP = rows.Addr(ip)
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
	err := s.read.QueryRowContext(ctx, "SELECT parts, size, sha256, stored, envelope FROM mail_raw WHERE day=? AND id=? AND part=0",
		mailstore.Day(id), id[:]).Scan(&m.Parts, &m.Size, &sum, &m.StoredAt, &m.Envelope)
	if errors.Is(err, sql.ErrNoRows) {
		err = mailstore.ErrNotFound
	}
	copy(m.SHA256[:], sum)
	return m, err
}

// entriesOf finds the rows of a mail in inbox, whose key begins with the mailbox.
func (s *Store) entriesOf(ctx context.Context, m mailstore.Stored) ([]mailstore.Entry, error) {
	var entries []mailstore.Entry
	for _, mbox := range rows.Mboxes(m.Envelope) {
		e, err := s.entries(ctx, "mbox=? AND id=? AND day=?", mbox[:], m.ID[:], mailstore.Day(m.ID))
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
			return rows.ScanPart(s.read.QueryRowContext(ctx, "SELECT codec, body FROM mail_raw WHERE day=? AND id=? AND part=?",
				mailstore.Day(id), id[:], part))
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

// IDs is mailstore.Auditor's. It goes day by day, in pages, so that no result is open while fn is at work.
func (s *Store) IDs(ctx context.Context, from, to ulid.ULID, fn func(mailstore.Row) error) error {
	for next := from; ; {
		day, found, err := s.dayFrom(ctx, mailstore.Day(next), mailstore.Day(to))
		if err != nil || !found {
			return classify("listing ids", err)
		}
		if day > mailstore.Day(next) {
			next = mailstore.FirstID(day)
		}
		page, err := s.idsPage(ctx, day, next, to)
		if err != nil {
			return classify("listing ids", err)
		}
		for _, r := range page {
			if err := fn(r); err != nil {
				return err
			}
		}
		if len(page) == rows.PageSize {
			next = after(page[rows.PageSize-1].ID)
		} else if next = mailstore.FirstID(day + 1); mailstore.Day(next) != day+1 {
			return nil // that was the last day there can be
		}
		if next.Compare(to) > 0 {
			return nil
		}
	}
}

// dayFrom is the first day from here on that has any mail.
func (s *Store) dayFrom(ctx context.Context, from, to uint32) (uint32, bool, error) {
	var day sql.Null[uint32]
	err := s.read.QueryRowContext(ctx, "SELECT MIN(day) FROM mail_raw WHERE day BETWEEN ? AND ?", from, to).Scan(&day)
	return day.V, day.Valid, err
}

func (s *Store) idsPage(ctx context.Context, day uint32, from, to ulid.ULID) ([]mailstore.Row, error) {
	return rows.Page(s.read.QueryContext(ctx, "SELECT id, size, sha256 FROM mail_raw WHERE day=? AND id BETWEEN ? AND ? AND part=0 ORDER BY id LIMIT ?",
		day, from[:], to[:], rows.PageSize))
}

// after is the next id there can be.
func after(id ulid.ULID) ulid.ULID {
	for i := len(id) - 1; i >= 0; i-- {
		if id[i]++; id[i] != 0 {
			break
		}
	}
	return id
}
