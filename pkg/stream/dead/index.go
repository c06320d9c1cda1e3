package dead

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/record"
)

// Index knows which mails are dead letters. Asked again, it reads only what has died since.
type Index struct {
	letters *Letters

	mu      sync.Mutex
	created time.Time // of the stream that was read
	next    uint64    // the first sequence that was not read
	at      map[ulid.ULID]uint64
}

// NewIndex makes an index of the dead letters; nothing is read before Refresh.
func NewIndex(nc *nats.Conn) *Index { return &Index{letters: New(nc)} }

// Refresh takes up what has died since the last time.
func (x *Index) Refresh(ctx context.Context) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	s, err := x.letters.js.Stream(ctx, stream.DeadStream)
	if err != nil {
		return fmt.Errorf("asking for the dead letters: %w", err)
	}
	info := s.CachedInfo()
	if !info.Created.Equal(x.created) || info.State.LastSeq+1 < x.next {
		x.created, x.next, x.at = info.Created, 1, make(map[ulid.ULID]uint64)
	}
	w := record.Walk{JS: x.letters.js, Stream: stream.DeadStream, Subject: stream.DeadSubject, From: x.next, To: info.State.LastSeq}
	err = w.Each(ctx, func(m record.Walked) error {
		if id, err := ulid.ParseStrict(m.Header.Get(stream.DeadIDHeader)); err == nil {
			x.at[id] = m.Sequence
		}
		x.next = m.Sequence + 1
		return nil
	})
	if err != nil {
		return fmt.Errorf("listing the dead letters: %w", err)
	}
	x.next = max(x.next, info.State.LastSeq+1)
	return nil
}

// Has says whether the mail is a dead letter, and still is: one may have been dropped, or retried.
func (x *Index) Has(ctx context.Context, id ulid.ULID) (bool, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	sequence, known := x.at[id]
	if !known {
		return false, nil
	}
	_, err := x.letters.log.Sequence(ctx, stream.DeadStream, sequence)
	if errors.Is(err, record.ErrNotFound) {
		delete(x.at, id)
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the dead letter %s: %w", id, err)
	}
	return true, nil
}
