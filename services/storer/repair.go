package storer

import (
	"context"
	"fmt"

	"github.com/sluice-mail/sluice/pkg/audit"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
)

// repairer stores mail again that an audit misses in the database.
type repairer struct {
	reader *stream.Reader
	store  writer
	stored func(shard int, mails []stream.StoredMail)
}

// repair stores the mail at a place of the log, without its derived columns when the database refuses those.
func (r *repairer) repair(ctx context.Context, place audit.Place) error {
	m, err := r.reader.Message(ctx, place.Shard, place.Sequence, place.Index)
	if err != nil {
		return err
	}
	if err := m.Verify(); err != nil {
		return err
	}
	mail, err := convert(ctx, m)
	if err != nil {
		return err
	}
	_, err = r.store.PutBatch(ctx, []mailstore.Mail{mail})
	if refusal(err) && !hopeless(err) {
		_, err = r.store.PutOne(ctx, mail)
	}
	if err != nil {
		return fmt.Errorf("storing mail %s again: %w", mail.ID, err)
	}
	if r.stored != nil {
		r.stored(place.Shard, []stream.StoredMail{{ID: mail.ID, Mailboxes: mail.Mailboxes}})
	}
	return nil
}
