package reading

import (
	"context"
	"fmt"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
)

// Delete deletes mails from a mailbox and returns the ids of those that were there. When it has returned, no list of this
// process shows them, and none of others while the cache can be reached.
func (r *Reader) Delete(ctx context.Context, mailbox string, ids ...ulid.ULID) ([]ulid.ULID, error) {
	gone, err := r.deps.Store.Delete(ctx, mailbox, ids...)
	if err != nil {
		// Whether it was committed may be unknown: a page that shows what is there is no harm.
		r.graves.changed(mailbox)
		return nil, fmt.Errorf("deleting from a mailbox: %w", err)
	}
	r.forget(mailbox, ids) // also what was gone: by an earlier try, perhaps, whose answer was lost
	return gone, nil
}

// DeleteAll deletes all mails that are in a mailbox now, and returns how many those were, also with an error: then others
// are still there.
func (r *Reader) DeleteAll(ctx context.Context, mailbox string) (int, error) {
	newest, err := r.deps.Store.List(ctx, mailbox, mailstore.Query{Limit: 1})
	if err != nil {
		return 0, fmt.Errorf("looking for the newest mail of a mailbox: %w", err)
	}
	if len(newest) == 0 {
		return 0, nil
	}
	n, err := r.deps.Store.DeleteAll(ctx, mailbox, newest[0].ID, func(gone []ulid.ULID) { r.forget(mailbox, gone) })
	if err != nil {
		r.graves.changed(mailbox)
		return n, fmt.Errorf("emptying a mailbox: %w", err)
	}
	return n, nil
}

// MarkSeen sets or clears the mark that a mail has been opened; mailstore.ErrNotFound when it is not in the mailbox.
func (r *Reader) MarkSeen(ctx context.Context, mailbox string, id ulid.ULID, seen bool) error {
	if err := r.deps.Store.MarkSeen(ctx, mailbox, id, seen); err != nil {
		return fmt.Errorf("marking a mail as seen: %w", err)
	}
	r.graves.changed(mailbox)
	return nil
}

// Stored takes note of mails that have just been stored. It is for speed only.
func (r *Reader) Stored(mails []stream.StoredMail) {
	for _, m := range mails {
		for _, mailbox := range m.Mailboxes {
			r.missing.remove(finding{mailbox, m.ID})
		}
	}
}

// forget deletes what the cache has of deleted mails. The bytes of a mail that others still have cost them a question to
// the database.
func (r *Reader) forget(mailbox string, gone []ulid.ULID) {
	r.graves.changed(mailbox, gone...)
	r.answers.forget(mailbox, gone)
	if r.deps.Cache != nil {
		r.deps.Cache.DeleteMessages(gone)
	}
}
