package sqlstore

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/internal/rows"
)

// Inbox implements mailstore.Reader.
func (s *Store) Inbox(ctx context.Context, mailbox string, before ulid.ULID, limit int) ([]mailstore.Entry, error) {
	start := time.Now()
	entries, err := s.dialect.List(ctx, mailbox, mailstore.Query{Before: before, Limit: limit})
	return entries, s.dialect.Meter.Done("inbox", start, err)
}

// List implements mailstore.Mailboxes.
func (s *Store) List(ctx context.Context, mailbox string, q mailstore.Query) ([]mailstore.Entry, error) {
	start := time.Now()
	q.Limit = min(cmp.Or(q.Limit, mailstore.DefaultLimit), mailstore.MaxLimit)
	entries, err := s.dialect.List(ctx, mailbox, q)
	return entries, s.dialect.Meter.Done("list", start, err)
}

// StoredSince implements mailstore.Mailboxes.
func (s *Store) StoredSince(ctx context.Context, mailbox string, since time.Time, limit int) ([]mailstore.Entry, error) {
	start := time.Now()
	entries, err := s.dialect.StoredSince(ctx, mailbox, since, limit)
	return entries, s.dialect.Meter.Done("stored_since", start, err)
}

// Find implements mailstore.Mailboxes.
func (s *Store) Find(ctx context.Context, mailbox string, id ulid.ULID) (mailstore.Stored, error) {
	start := time.Now()
	m, err := s.find(ctx, mailbox, id)
	return m, s.dialect.Meter.Done("find", start, err)
}

func (s *Store) find(ctx context.Context, mailbox string, id ulid.ULID) (mailstore.Stored, error) {
	mbox, key := mailstore.Mbox(mailbox), s.dialect.KeyArgs(id)
	args := append(slices.Clone(key), mbox[:])
	args = append(append(append(args, key...), key...), mailstore.FoundBytes)
	return rows.Found(s.dialect.Read.QueryRowContext(ctx, rows.SelectFound(s.dialect.Key), args...), id, s.dialect.Packer)
}
