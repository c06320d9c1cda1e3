package storer

import (
	"context"
	"errors"
	"fmt"

	"github.com/sluice-mail/sluice/pkg/audit"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
)

// repairer stores mail again that an audit found missing in the database.
type repairer struct {
	reader *stream.Reader
	store  writer
	stored func(shard int, mails []stream.StoredMail)
}

const (
	// repairRows and repairBytes bound a transaction.
	repairRows  = 128
	repairBytes = 8 << 20
)

// repair stores the mails at these places in the log, many in a transaction. places lists the mails of a message one after the other. If
// one cannot be stored, the others are stored nevertheless, and its error is returned.
func (r *repairer) repair(ctx context.Context, places []audit.Place) error {
	var failed []error
	var batch []mailstore.Mail
	var bytes int64
	shard := 0
	flush := func() {
		if len(batch) > 0 {
			failed = append(failed, r.put(ctx, shard, batch))
		}
		batch, bytes = nil, 0
	}
	for from := 0; from < len(places) && ctx.Err() == nil; {
		p, to := places[from], from
		for to < len(places) && places[to].Shard == p.Shard && places[to].Sequence == p.Sequence {
			to++
		}
		mails, err := r.read(ctx, places[from:to])
		failed = append(failed, err)
		from = to
		for _, m := range mails {
			if p.Shard != shard || len(batch) == repairRows || bytes+m.Size > repairBytes {
				flush()
			}
			shard = p.Shard
			batch, bytes = append(batch, m), bytes+m.Size
		}
	}
	flush()
	return errors.Join(failed...)
}

// read makes the mails of places in one message.
func (r *repairer) read(ctx context.Context, places []audit.Place) (mails []mailstore.Mail, err error) {
	all, err := r.reader.Mails(ctx, places[0].Shard, places[0].Sequence)
	if err != nil {
		return nil, err
	}
	for _, p := range places {
		if p.Index >= len(all) {
			return mails, fmt.Errorf("sequence %d of %s has %d mails, no number %d", p.Sequence, stream.StreamName(p.Shard), len(all), p.Index+1)
		}
		if err := all[p.Index].Verify(); err != nil {
			return mails, err
		}
		mail, err := convert(ctx, all[p.Index])
		if err != nil {
			return mails, err
		}
		mails = append(mails, mail)
	}
	return mails, nil
}

// put stores a batch. When the database refuses it, the mails are stored one by one, and a mail that is refused without its derived
// columns.
func (r *repairer) put(ctx context.Context, shard int, batch []mailstore.Mail) error {
	_, err := r.store.PutBatch(ctx, batch)
	if refusal(err) && !hopeless(err) {
		if len(batch) > 1 {
			var failed []error
			for _, mail := range batch {
				failed = append(failed, r.put(ctx, shard, []mailstore.Mail{mail}))
			}
			return errors.Join(failed...)
		}
		_, err = r.store.PutOne(ctx, batch[0])
	}
	if err != nil {
		return fmt.Errorf("storing %d mails again, from %s: %w", len(batch), batch[0].ID, err)
	}
	if r.stored != nil {
		again := make([]stream.StoredMail, len(batch))
		for i, mail := range batch {
			again[i] = stream.StoredMail{ID: mail.ID, Mailboxes: mail.Mailboxes}
		}
		r.stored(shard, again)
	}
	return nil
}
