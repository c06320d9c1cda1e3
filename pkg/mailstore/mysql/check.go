package mysql

import (
	"cmp"
	"context"
	"database/sql"
	bin "encoding/binary"
	"encoding/hex"
	"slices"
	"strconv"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/internal/rows"
)

// checkRows is the number of mails, or of rows of inbox, that one statement asks for. Each takes up to 75 bytes of the
// statement, and the optimiser turns it into a range.
const checkRows = 500

// sums is the digest of mails; a condition follows. CRC32 is Go's crc32.ChecksumIEEE.
const sums = "SELECT COUNT(*), COALESCE(SUM(size), 0), COALESCE(SUM(CRC32(CONCAT(id, sha256))), 0), COUNT(IF(refs=0, 1, NULL)) FROM mail WHERE "

// Sum implements mailstore.Checker.
func (s *Store) Sum(ctx context.Context, from, to ulid.ULID) (sum mailstore.Sum, err error) {
	start := time.Now()
	err = s.add(ctx, &sum, sums+"day BETWEEN ? AND ? AND id BETWEEN ? AND ?", mailstore.Day(from), mailstore.Day(to), from[:], to[:])
	return sum, s.meter.Done("sum", start, err)
}

// SumOf implements mailstore.Checker.
func (s *Store) SumOf(ctx context.Context, ids []ulid.ULID) (sum mailstore.Sum, err error) {
	start := time.Now()
	for day, some := range days(ids, func(id ulid.ULID) ulid.ULID { return id }) {
		query := append(make([]byte, 0, 256+36*len(some)), sums+"day="...)
		query = append(query, strconv.Itoa(int(day))...)
		query = appendIDs(append(query, " AND id IN ("...), some)
		if err = s.add(ctx, &sum, string(append(query, ')'))); err != nil {
			break
		}
	}
	return sum, s.meter.Done("sum", start, err)
}

func (s *Store) add(ctx context.Context, sum *mailstore.Sum, query string, args ...any) error {
	var one mailstore.Sum
	err := s.read.QueryRowContext(ctx, query, args...).Scan(&one.Mails, &one.Bytes, &one.Check, &one.Erased)
	sum.Mails += one.Mails
	sum.Bytes += one.Bytes
	sum.Check += one.Check
	sum.Erased += one.Erased
	return err
}

// sumLines reads an index alone, in order of id; the rows of inbox are wide, and in order of mailbox.
const sumLines = "SELECT COUNT(*), COALESCE(SUM(CRC32(CONCAT(mbox, id))), 0) FROM inbox FORCE INDEX (mail_id)" +
	" WHERE day BETWEEN ? AND ? AND mail_id BETWEEN ? AND ? AND id BETWEEN ? AND ?"

// SumLines implements mailstore.Checker.
func (s *Store) SumLines(ctx context.Context, from, to ulid.ULID) (sum mailstore.LineSum, err error) {
	start := time.Now()
	err = s.read.QueryRowContext(ctx, sumLines, mailstore.Day(from), mailstore.Day(to),
		bin.BigEndian.Uint64(from[:8]), bin.BigEndian.Uint64(to[:8]), from[:], to[:]).Scan(&sum.Lines, &sum.Check)
	return sum, s.meter.Done("sumlines", start, err)
}

// Lines implements mailstore.Checker.
func (s *Store) Lines(ctx context.Context, lines []mailstore.Line) (n int, err error) {
	start := time.Now()
	for day, some := range days(lines, func(l mailstore.Line) ulid.ULID { return l.ID }) {
		query := append(make([]byte, 0, 256+75*len(some)), "SELECT COUNT(*) FROM inbox WHERE day="...)
		query = append(query, strconv.Itoa(int(day))...)
		query = append(query, " AND (mbox, id) IN ("...)
		for i, l := range some {
			if i > 0 {
				query = append(query, ',')
			}
			query = appendHex(append(query, '('), l.Mbox[:])
			query = append(appendHex(append(query, ','), l.ID[:]), ')')
		}
		var one int
		if err = s.read.QueryRowContext(ctx, string(append(query, ')'))).Scan(&one); err != nil {
			break
		}
		n += one
	}
	return n, s.meter.Done("lines", start, err)
}

// Damaged implements mailstore.Checker.
func (s *Store) Damaged(ctx context.Context, mails []mailstore.Row) (damaged []ulid.ULID, err error) {
	start := time.Now()
	for day, some := range days(mails, func(m mailstore.Row) ulid.ULID { return m.ID }) {
		err = rows.Damaged(ctx, some, s.packer, s, &damaged, func(ids []ulid.ULID) (*sql.Rows, error) {
			query := append([]byte("SELECT id, codec, body FROM mail_raw WHERE part=0 AND day="), strconv.Itoa(int(day))...)
			query = appendIDs(append(query, " AND id IN ("...), ids)
			return s.read.QueryContext(ctx, string(append(query, ')')))
		})
		if err != nil {
			break
		}
	}
	return damaged, s.meter.Done("damaged", start, err)
}

// days cuts a list into pieces for one statement, each of one day, so that one partition is opened.
func days[T any](list []T, id func(T) ulid.ULID) func(yield func(uint32, []T) bool) {
	day := func(v T) uint32 { return mailstore.Day(id(v)) }
	return func(yield func(uint32, []T) bool) {
		byDay := func(x, y T) int { return cmp.Compare(day(x), day(y)) }
		if !slices.IsSortedFunc(list, byDay) {
			list = slices.SortedStableFunc(slices.Values(list), byDay)
		}
		for len(list) > 0 {
			n := 1
			for n < len(list) && n < checkRows && day(list[n]) == day(list[0]) {
				n++
			}
			if !yield(day(list[0]), list[:n]) {
				return
			}
			list = list[n:]
		}
	}
}

// appendIDs writes ids as literals: of hexadecimal digits alone.
func appendIDs(query []byte, ids []ulid.ULID) []byte {
	for i, id := range ids {
		if i > 0 {
			query = append(query, ',')
		}
		query = appendHex(query, id[:])
	}
	return query
}

func appendHex(query, value []byte) []byte {
	return append(hex.AppendEncode(append(query, "x'"...), value), '\'')
}
