package sqlstore

import (
	"cmp"
	"context"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
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
	line, err := s.entry(ctx, mailstore.Mbox(mailbox), id)
	if err != nil {
		return mailstore.Stored{}, err
	}
	if len(line) == 0 {
		return mailstore.Stored{}, mailstore.ErrNotFound
	}
	m, err := s.head(ctx, id)
	m.Entries = line
	return m, err
}
