package mysql

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/internal/rows"
)

// list lists a mailbox, newest first. Every partition that a query touches costs, so it asks for the newest three days first.
func (s *Store) list(ctx context.Context, mailbox string, q mailstore.Query) ([]mailstore.Entry, error) {
	before, older := q.Before, "id<?"
	if before.IsZero() {
		before, older = mailstore.LastID(), "id<=?"
	}
	mbox := mailstore.Mbox(mailbox)
	where, args := "mbox=? AND "+older+" ", []any{mbox[:], before[:]}
	if !q.After.IsZero() {
		where, args = where+"AND id>? ", append(args, q.After[:])
	}
	if q.Contains != "" {
		where += "AND LOCATE(?, LOWER(CONCAT_WS('\n', subject, hdr_from, CONVERT(sender USING utf8mb4))))>0 "
		args = append(args, strings.ToLower(q.Contains))
	}
	recent := min(mailstore.Day(before), today(time.Now()))
	recent -= min(recent, 2)
	entries, err := s.entries(ctx, where+"AND day>=? ORDER BY id DESC LIMIT ?", append(args, recent, q.Limit)...)
	if err != nil || len(entries) == q.Limit || mailstore.Day(q.After) >= recent {
		return entries, err
	}
	rest, err := s.entries(ctx, where+"AND day BETWEEN ? AND ? ORDER BY id DESC LIMIT ?", append(args, mailstore.Day(q.After), recent-1, q.Limit-len(entries))...)
	return append(entries, rest...), err
}

// storedSince goes by the address, for which there is an index with the time.
func (s *Store) storedSince(ctx context.Context, mailbox string, since time.Time, limit int) ([]mailstore.Entry, error) {
	mbox := mailstore.Mbox(mailbox)
	return s.entries(ctx, "rcpt=? AND stored>=? AND mbox=? ORDER BY stored, id LIMIT ?", []byte(rows.Bytes(mailbox, 320)), since.UTC(), mbox[:], limit)
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
	err := s.read.QueryRowContext(ctx, "SELECT MIN(day) FROM mail WHERE day BETWEEN ? AND ?", from, to).Scan(&day)
	return day.V, day.Valid, err
}

func (s *Store) idsPage(ctx context.Context, day uint32, from, to ulid.ULID) ([]mailstore.Row, error) {
	return rows.Page(s.read.QueryContext(ctx, "SELECT id, size, sha256, refs FROM mail WHERE day=? AND id BETWEEN ? AND ? ORDER BY id LIMIT ?",
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
