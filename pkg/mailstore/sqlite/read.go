package sqlite

import (
	"context"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/internal/rows"
)

// Inbox implements mailstore.Reader.
func (s *Store) Inbox(ctx context.Context, mailbox string, before ulid.ULID, limit int) ([]mailstore.Entry, error) {
	start := time.Now()
	mbox := mailstore.Mbox(mailbox)
	where, args := "mbox=?1 AND id<?2 ORDER BY id DESC LIMIT ?3", []any{mbox[:], before[:], limit}
	if before.IsZero() {
		where, args = "mbox=?1 ORDER BY id DESC LIMIT ?2", []any{mbox[:], limit}
	}
	entries, err := rows.Entries(s.read.QueryContext(ctx, rows.SelectEntries+where, args...))
	return entries, s.meter.Done("inbox", start, err)
}

// IDs implements mailstore.Auditor. It goes in pages, so that no result is open while fn is at work: an open one would keep
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
