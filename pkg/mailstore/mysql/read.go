package mysql

import (
	"context"
	"database/sql"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/internal/rows"
)

// Inbox implements mailstore.Reader. Every partition that a query touches costs, so it asks for the newest three days first.
func (s *Store) Inbox(ctx context.Context, mailbox string, before ulid.ULID, limit int) ([]mailstore.Entry, error) {
	start := time.Now()
	older := "id<?"
	if before.IsZero() {
		before, older = mailstore.LastID(), "id<=?"
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
	return entries, s.meter.Done("inbox", start, err)
}

func (s *Store) entries(ctx context.Context, where string, args ...any) ([]mailstore.Entry, error) {
	return rows.Entries(s.read.QueryContext(ctx, rows.SelectEntries+where, args...))
}

func today(now time.Time) uint32 { return uint32(now.UnixMilli() / 86_400_000) }

// IDs implements mailstore.Auditor. It goes day by day, in pages, so that no result is open while fn is at work.
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

// dayFrom is the first day in a range that has any mail.
func (s *Store) dayFrom(ctx context.Context, from, to uint32) (uint32, bool, error) {
	var day sql.Null[uint32]
	err := s.read.QueryRowContext(ctx, "SELECT MIN(day) FROM mail_raw WHERE day BETWEEN ? AND ?", from, to).Scan(&day)
	return day.V, day.Valid, err
}

func (s *Store) idsPage(ctx context.Context, day uint32, from, to ulid.ULID) ([]mailstore.Row, error) {
	return rows.Page(s.read.QueryContext(ctx, "SELECT id, size, sha256 FROM mail_raw WHERE day=? AND id BETWEEN ? AND ? AND part=0 ORDER BY id LIMIT ?",
		day, from[:], to[:], rows.PageSize))
}

// after is the smallest id that is larger.
func after(id ulid.ULID) ulid.ULID {
	for i := len(id) - 1; i >= 0; i-- {
		if id[i]++; id[i] != 0 {
			break
		}
	}
	return id
}
