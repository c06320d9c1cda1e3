package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/internal/rows"
)

// checkRows is how many mails, or lines, one statement asks for.
const checkRows = 500

// Sum implements mailstore.Checker. SQLite has no CRC-32, so the rows are read; they do not leave the process.
func (s *Store) Sum(ctx context.Context, from, to ulid.ULID) (sum mailstore.Sum, err error) {
	err = s.IDs(ctx, from, to, func(r mailstore.Row) error { sum.Add(r); return nil })
	return sum, err
}

// SumOf implements mailstore.Checker.
func (s *Store) SumOf(ctx context.Context, ids []ulid.ULID) (sum mailstore.Sum, err error) {
	start := time.Now()
	for some := range slices.Chunk(ids, checkRows) {
		var page []mailstore.Row
		page, err = rows.Page(s.read.QueryContext(ctx, "SELECT id, size, sha256, refs FROM mail WHERE id IN ("+idList(some)+")"))
		if err != nil {
			break
		}
		for _, r := range page {
			sum.Add(r)
		}
	}
	return sum, s.meter.Done("sum", start, err)
}

// SumLines implements mailstore.Checker: as Sum, over an index that has all that is asked for.
func (s *Store) SumLines(ctx context.Context, from, to ulid.ULID) (sum mailstore.LineSum, err error) {
	start := time.Now()
	found, err := s.read.QueryContext(ctx, "SELECT mbox, id FROM inbox INDEXED BY inbox_id WHERE id BETWEEN ? AND ?", from[:], to[:])
	if err == nil {
		defer found.Close()
		var mbox, id sql.RawBytes
		for err == nil && found.Next() {
			if err = found.Scan(&mbox, &id); err == nil {
				var l mailstore.Line
				copy(l.Mbox[:], mbox)
				copy(l.ID[:], id)
				sum.Add(l)
			}
		}
		err = cmp.Or(err, found.Err())
	}
	return sum, s.meter.Done("sumlines", start, err)
}

// Lines implements mailstore.Checker.
func (s *Store) Lines(ctx context.Context, lines []mailstore.Line) (n int, err error) {
	start := time.Now()
	for some := range slices.Chunk(lines, checkRows) {
		var list strings.Builder
		for i, l := range some {
			if i > 0 {
				list.WriteByte(',')
			}
			fmt.Fprintf(&list, "(x'%x',x'%x')", l.Mbox[:], l.ID[:])
		}
		var one int
		if err = s.read.QueryRowContext(ctx, "SELECT COUNT(*) FROM inbox WHERE (mbox, id) IN (VALUES "+list.String()+")").Scan(&one); err != nil {
			break
		}
		n += one
	}
	return n, s.meter.Done("lines", start, err)
}

// Damaged implements mailstore.Checker.
func (s *Store) Damaged(ctx context.Context, mails []mailstore.Row) (damaged []ulid.ULID, err error) {
	start := time.Now()
	for some := range slices.Chunk(mails, checkRows) {
		err = rows.Damaged(ctx, some, s.packer, s, &damaged, func(ids []ulid.ULID) (*sql.Rows, error) {
			return s.read.QueryContext(ctx, "SELECT id, codec, body FROM mail_raw WHERE part=0 AND id IN ("+idList(ids)+")")
		})
		if err != nil {
			break
		}
	}
	return damaged, s.meter.Done("damaged", start, err)
}

func idList(ids []ulid.ULID) string {
	var list strings.Builder
	for i, id := range ids {
		if i > 0 {
			list.WriteByte(',')
		}
		fmt.Fprintf(&list, "x'%x'", id[:])
	}
	return list.String()
}
