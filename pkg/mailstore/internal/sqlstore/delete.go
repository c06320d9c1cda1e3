package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/internal/rows"
)

// deleteAtOnce is how many mails of a mailbox are deleted in one transaction: their locks are held for about 100 ms.
const deleteAtOnce = 200

const (
	emptyLine = "UPDATE inbox SET state=2, flags=?, rcpt='', sender='', hdr_from='', hdr_to='', subject='', charset='', content_type='', has_attach=0, size=0, ip='' WHERE state<2 AND mbox=? AND "
	isOurs    = "SELECT COUNT(*) FROM inbox WHERE state=2 AND flags=? AND mbox=? AND "
	unref     = "UPDATE mail SET refs=refs-1 WHERE refs>0 AND "
	emptyMail = "UPDATE mail SET envelope='' WHERE "
)

// Delete implements mailstore.Deleter.
func (s *Store) Delete(ctx context.Context, mailbox string, ids ...ulid.ULID) ([]ulid.ULID, error) {
	start := time.Now()
	gone, err := s.delete(ctx, mailbox, ids)
	return gone, s.dialect.Meter.Done("delete", start, err)
}

func (s *Store) delete(ctx context.Context, mailbox string, ids []ulid.ULID) (gone []ulid.ULID, err error) {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, ulid.ULID.Compare) // everybody locks in this order
	d := deletion{mbox: mailstore.Mbox(mailbox), number: rand.Int64()}
	err = rows.Again(ctx, func() error {
		gone = gone[:0]
		defer func() { d.again = true }()
		return s.dialect.Classify("deleting mail", s.dialect.Transaction(ctx, func(tx *sql.Tx) error {
			for _, id := range slices.Compact(ids) {
				deleted, err := s.deleteOne(ctx, tx, d, id)
				if err != nil {
					return err
				}
				if deleted {
					gone = append(gone, id)
				}
			}
			return nil
		}))
	})
	if err != nil {
		return nil, err
	}
	return gone, nil
}

// deletion is a call of Delete. Its number stays in the flags of the lines that it has deleted: should the answer to its commit
// be lost, its next attempt tells by it what was done.
type deletion struct {
	mbox   [16]byte
	number int64
	again  bool
}

// deleteOne empties and marks the line of a mail in a mailbox. The mail is locked before its line, as when it is stored, so
// that two who delete it at once count down one after the other.
func (s *Store) deleteOne(ctx context.Context, tx *sql.Tx, d deletion, id ulid.ULID) (bool, error) {
	key := s.dialect.KeyArgs(id)
	var refs int
	err := tx.QueryRowContext(ctx, "SELECT refs FROM mail WHERE "+s.dialect.Key+s.dialect.Lock, key...).Scan(&refs)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, err
	}
	line := append([]any{d.number, d.mbox[:]}, key...)
	res, err := tx.ExecContext(ctx, emptyLine+s.dialect.Key, line...)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	if err == nil && n == 0 && d.again {
		err = tx.QueryRowContext(ctx, isOurs+s.dialect.Key, line...).Scan(&n)
		return n > 0, err
	}
	if err != nil || n == 0 {
		return false, err
	}
	if _, err := tx.ExecContext(ctx, unref+s.dialect.Key, key...); err != nil {
		return false, err
	}
	if refs > 1 {
		return true, nil
	}
	for _, statement := range []string{"DELETE FROM mail_raw WHERE ", emptyMail} {
		if _, err := tx.ExecContext(ctx, statement+s.dialect.Key, key...); err != nil {
			return false, err
		}
	}
	return true, nil
}

// DeleteAll implements mailstore.Deleter.
func (s *Store) DeleteAll(ctx context.Context, mailbox string, upTo ulid.ULID, gone func([]ulid.ULID)) (int, error) {
	deleted := 0
	for {
		page, err := s.dialect.List(ctx, mailbox, mailstore.Query{Before: next(upTo), Limit: deleteAtOnce})
		if err != nil {
			return deleted, s.dialect.Classify("listing mail to delete", err)
		}
		if len(page) == 0 {
			return deleted, nil
		}
		ids := make([]ulid.ULID, len(page))
		for i := range page {
			ids[i] = page[i].ID
		}
		done, err := s.Delete(ctx, mailbox, ids...)
		if err != nil {
			return deleted, err
		}
		if deleted += len(done); len(done) > 0 && gone != nil {
			gone(done)
		}
	}
}

// next is the smallest id that is larger; after the last one it is zero, which bounds nothing.
func next(id ulid.ULID) ulid.ULID {
	for i := len(id) - 1; i >= 0; i-- {
		if id[i]++; id[i] != 0 {
			break
		}
	}
	return id
}

// MarkSeen implements mailstore.Deleter.
func (s *Store) MarkSeen(ctx context.Context, mailbox string, id ulid.ULID, seen bool) error {
	start := time.Now()
	mbox, state := mailstore.Mbox(mailbox), 0
	if seen {
		state = rows.Seen
	}
	where := " WHERE state<2 AND mbox=? AND " + s.dialect.Key
	args := append([]any{mbox[:]}, s.dialect.KeyArgs(id)...)
	err := rows.Again(ctx, func() error {
		return s.dialect.Classify("marking mail as seen", s.dialect.Transaction(ctx, func(tx *sql.Tx) error {
			var have int
			err := tx.QueryRowContext(ctx, "SELECT state FROM inbox"+where+s.dialect.Lock, args...).Scan(&have)
			if errors.Is(err, sql.ErrNoRows) {
				return mailstore.ErrNotFound
			}
			if err != nil || have == state {
				return err
			}
			_, err = tx.ExecContext(ctx, "UPDATE inbox SET state=?"+where, append([]any{state}, args...)...)
			return err
		}))
	})
	return s.dialect.Meter.Done("mark_seen", start, err)
}
