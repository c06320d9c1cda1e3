package mailstore

import (
	"context"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/digest"
)

// Checker compares many mails at once with what the database has: it reads no bodies and sends no rows.
type Checker interface {
	// Sum is that of all mails with from <= id <= to.
	Sum(ctx context.Context, from, to ulid.ULID) (Sum, error)
	// SumOf is that of those of these mails that are there. ids are different, in any order and number.
	SumOf(ctx context.Context, ids []ulid.ULID) (Sum, error)
	// SumLines is that of all lines of mailboxes, of mails with from <= id <= to, what readers have deleted included.
	SumLines(ctx context.Context, from, to ulid.ULID) (LineSum, error)
	// Lines is how many of these lines of mailboxes are there, what readers have deleted included. They are different.
	Lines(ctx context.Context, lines []Line) (int, error)
	// Damaged reads the bytes of mails, all of which are there, and returns those that are not as their size and SHA-256 say.
	Damaged(ctx context.Context, mails []Row) ([]ulid.ULID, error)
}

// Sum is a digest of mails. Two that are equal are of the same mails, with the same sizes and SHA-256, but for one chance in
// four billion.
type Sum struct {
	Mails int64
	Bytes int64
	Check uint64 // digest.Mail of each mail, summed up
	// Erased is how many of them have no bytes any more, because every mailbox has deleted them.
	Erased int64
}

// Add adds a mail.
func (s *Sum) Add(r Row) {
	s.Mails++
	s.Bytes += r.Size
	if r.Erased {
		s.Erased++
	}
	s.Check += digest.Mail(r.ID, r.SHA256)
}

// Line is the place of a mail in the list of a mailbox; see Mbox.
type Line struct {
	Mbox [16]byte
	ID   ulid.ULID
}

// LineSum is a digest of lines, as Sum is of mails.
type LineSum struct {
	Lines int64
	Check uint64 // digest.Line of each line, summed up
}

// Add adds a line.
func (s *LineSum) Add(l Line) {
	s.Lines++
	s.Check += digest.Line(l.Mbox, l.ID)
}
