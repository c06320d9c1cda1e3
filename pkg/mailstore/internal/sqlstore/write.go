package sqlstore

import (
	"context"
	"database/sql"
	"time"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/internal/rows"
)

// PutBatch implements mailstore.Writer.
func (s *Store) PutBatch(ctx context.Context, mails []mailstore.Mail) (mailstore.Result, error) {
	start := time.Now()
	result, err := s.put(ctx, mails)
	if err = s.dialect.Meter.Done("put_batch", start, err); err != nil {
		return mailstore.Result{}, err
	}
	s.dialect.Meter.Stored(result)
	return result, nil
}

// PutOne implements mailstore.Writer.
func (s *Store) PutOne(ctx context.Context, mail mailstore.Mail) (mailstore.Result, error) {
	mail.Derived = mailstore.Derived{}
	return s.PutBatch(ctx, []mailstore.Mail{mail})
}

func (s *Store) put(ctx context.Context, mails []mailstore.Mail) (mailstore.Result, error) {
	batch, err := rows.Prepare(mails, s.Oldest(time.Now()), s.dialect.Packer)
	if err != nil {
		return mailstore.Result{}, err
	}
	defer batch.Release()
	result := batch.Result
	if len(batch.Mails) == 0 {
		return result, nil
	}
	stored, err := s.write(ctx, batch, nil)
	result.New, result.Existing = stored, result.Existing+len(batch.Mails)-stored
	return result, err
}

// write inserts a batch, does what comes last in its transaction, if anything, and commits.
func (s *Store) write(ctx context.Context, batch *rows.Batch, last func(*sql.Tx) error) (stored int, err error) {
	err = rows.Again(ctx, func() error {
		if s.dialect.Prepare != nil {
			if err := s.dialect.Prepare(ctx); err != nil {
				return s.dialect.Classify("storing mail", err)
			}
		}
		return s.dialect.Classify("storing mail", s.dialect.Transaction(ctx, func(tx *sql.Tx) (err error) {
			stored, err = s.dialect.Insert(ctx, tx, batch)
			if err == nil && last != nil {
				err = last(tx)
			}
			return err
		}))
	})
	if err != nil && s.dialect.Diagnose != nil {
		err = s.dialect.Diagnose(ctx, err)
	}
	return stored, err
}

// Reindex implements mailstore.Writer.
func (s *Store) Reindex(ctx context.Context, mails []mailstore.Mail) (int, error) {
	start := time.Now()
	var changed int64
	err := rows.Again(ctx, func() error {
		return s.dialect.Classify("rewriting derived columns", s.dialect.Transaction(ctx, func(tx *sql.Tx) (err error) {
			changed, err = s.reindex(ctx, tx, mails)
			return err
		}))
	})
	return int(changed), s.dialect.Meter.Done("reindex", start, err)
}

func (s *Store) reindex(ctx context.Context, tx *sql.Tx, mails []mailstore.Mail) (changed int64, err error) {
	update, err := tx.PrepareContext(ctx, s.dialect.UpdateInbox)
	if err != nil {
		return 0, err
	}
	defer update.Close()
	inbox := rows.InboxOf(mails)
	for i := range inbox {
		res, err := update.ExecContext(ctx, s.dialect.UpdateArgs(&inbox[i])...)
		if err != nil {
			return 0, err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return 0, err
		}
		changed += n
	}
	return changed, nil
}
