package sqlstore

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

// Mail implements mailstore.Reader.
func (s *Store) Mail(ctx context.Context, id ulid.ULID) (mailstore.Stored, error) {
	start := time.Now()
	m, err := s.head(ctx, id)
	if err == nil {
		m.Entries, err = s.entriesOf(ctx, m)
	}
	return m, s.dialect.Meter.Done("mail", start, err)
}

// head reads what is known of a mail. One whose bytes are erased is not there.
func (s *Store) head(ctx context.Context, id ulid.ULID) (mailstore.Stored, error) {
	m := mailstore.Stored{ID: id}
	var sum []byte
	err := s.dialect.Read.QueryRowContext(ctx, "SELECT parts, size, sha256, stored, envelope FROM mail WHERE "+s.dialect.Key+" AND refs>0",
		s.dialect.KeyArgs(id)...).Scan(&m.Parts, &m.Size, &sum, rows.Time(&m.StoredAt), &m.Envelope)
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
		e, err := s.entry(ctx, mbox, m.ID)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e...)
	}
	return entries, nil
}

// entry is the line of a mail in a mailbox, or none.
func (s *Store) entry(ctx context.Context, mbox [16]byte, id ulid.ULID) ([]mailstore.Entry, error) {
	return rows.Entries(s.dialect.Read.QueryContext(ctx, rows.SelectEntries+s.dialect.Key+" AND mbox=?", append(s.dialect.KeyArgs(id), mbox[:])...))
}

// Raw implements mailstore.Reader.
func (s *Store) Raw(ctx context.Context, id ulid.ULID, w io.Writer) error {
	start := time.Now()
	m, err := s.head(ctx, id)
	if err == nil {
		err = rows.Copy(w, m, s.dialect.Packer, func(part int) ([]byte, mailstore.Codec, error) {
			return rows.ScanPart(s.dialect.Read.QueryRowContext(ctx, "SELECT codec, body FROM mail_raw WHERE "+s.dialect.Key+" AND part=?",
				append(s.dialect.KeyArgs(id), part)...))
		})
		if errors.Is(err, mailstore.ErrDamaged) {
			if _, gone := s.head(ctx, id); errors.Is(gone, mailstore.ErrNotFound) {
				err = gone // deleted a moment ago
			}
		}
	}
	return s.dialect.Meter.Done("raw", start, err)
}

// Count implements mailstore.Auditor.
func (s *Store) Count(ctx context.Context) (int64, error) {
	start := time.Now()
	var n int64
	err := s.dialect.Read.QueryRowContext(ctx, "SELECT COALESCE(SUM(n), 0) FROM counts").Scan(&n)
	return n, s.dialect.Meter.Done("count", start, err)
}
