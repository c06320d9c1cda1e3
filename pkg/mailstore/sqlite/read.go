package sqlite

import (
	"context"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/internal/rows"
)

// list lists a mailbox, newest first.
func (s *Store) list(ctx context.Context, mailbox string, q mailstore.Query) ([]mailstore.Entry, error) {
	mbox := mailstore.Mbox(mailbox)
	where, args := "mbox=? ", []any{mbox[:]}
	if !q.Before.IsZero() {
		where, args = where+"AND id<? ", append(args, q.Before[:])
	}
	if !q.After.IsZero() {
		where, args = where+"AND id>? ", append(args, q.After[:])
	}
	if q.Contains != "" { // SQLite knows upper and lower case of ASCII only
		where += "AND instr(lower(subject || char(10) || hdr_from || char(10) || sender), lower(?))>0 "
		args = append(args, q.Contains)
	}
	return rows.Entries(s.read.QueryContext(ctx, rows.SelectEntries+where+"ORDER BY id DESC LIMIT ?", append(args, q.Limit)...))
}

func (s *Store) storedSince(ctx context.Context, mailbox string, since time.Time, limit int) ([]mailstore.Entry, error) {
	mbox := mailstore.Mbox(mailbox)
	return rows.Entries(s.read.QueryContext(ctx, rows.SelectEntries+"mbox=? AND stored>=? ORDER BY stored, id LIMIT ?", mbox[:], since.UnixMilli(), limit))
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
	return rows.Page(s.read.QueryContext(ctx, "SELECT id, size, sha256, refs FROM mail WHERE "+condition+" AND id <= ? ORDER BY id LIMIT ?",
		from[:], to[:], rows.PageSize))
}
