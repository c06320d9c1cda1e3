// Package tombstone keeps decisions about mail that is neither in the database nor a dead letter: an operator dropped it, or
// accepted that it is lost. Audits read these decisions, so that such mail does not stop the purge. Without a tombstone, an audit
// reports such mail as missing.
package tombstone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/stream"
)

// What became of the mail.
type What string

const (
	// Dropped: it was a dead letter, which an operator removed.
	Dropped What = "dropped"
	// Erased: its readers deleted it.
	Erased What = "erased"
	// Accepted: it is lost, and an operator has accepted that.
	Accepted What = "accepted"
)

// Stone is one decision.
type Stone struct {
	What What      `json:"what"`
	Who  string    `json:"who"`
	When time.Time `json:"when"`
	Why  string    `json:"why,omitempty"`
}

// Gap is a decision about a range of sequences of one shard, both ends included. It holds for what was lost then, and not for
// other messages that come to have the same sequences.
type Gap struct {
	stream.Bounds
	// Created is the time of creation of the stream that lost them: one that is made again begins with the same sequences.
	Created time.Time
	// Found is when it was noticed that the stream is shorter than it was, zero for a gap in its midst: what was lost at
	// the end has its sequences used again.
	Found time.Time
	Stone
}

// gapValue is a Gap as it is kept, beside its key.
type gapValue struct {
	Created time.Time `json:"created"`
	Found   time.Time `json:"found,omitzero"`
	Stone
}

// Stones are the tombstones in the log's bucket.
type Stones struct{ js jetstream.JetStream }

// ErrNotFound: nothing was decided about the mail.
var ErrNotFound = errors.New("no tombstone")

// New gives access to the tombstones.
func New(nc *nats.Conn) *Stones { return &Stones{stream.JetStream(nc)} }

// Put decides about a mail.
func (s *Stones) Put(ctx context.Context, id ulid.ULID, stone Stone) error {
	return s.put(ctx, id.String(), stone)
}

// PutGap decides about the sequences of a shard that the log has lost.
func (s *Stones) PutGap(ctx context.Context, gap Gap) error {
	key := fmt.Sprintf("%s%d.%d.%d-%d", gapPrefix(gap.Shard), gap.Created.UnixNano(), max(gap.Found.UnixNano(), 0), gap.From, gap.To)
	return s.put(ctx, key, gapValue{gap.Created, gap.Found, gap.Stone})
}

func gapPrefix(shard int) string { return "gap." + stream.StreamName(shard) + "." }

func (s *Stones) put(ctx context.Context, key string, what any) error {
	kv, err := s.bucket(ctx)
	if err != nil {
		return err
	}
	body, err := json.Marshal(what)
	if err != nil {
		return fmt.Errorf("encoding a tombstone: %w", err)
	}
	if _, err := kv.Put(ctx, key, body); err != nil {
		return fmt.Errorf("writing the tombstone %s: %w", key, err)
	}
	return nil
}

// Find returns what was decided about a mail; ErrNotFound when nothing was.
func (s *Stones) Find(ctx context.Context, id ulid.ULID) (Stone, error) {
	kv, err := s.bucket(ctx)
	if err != nil {
		return Stone{}, err
	}
	var stone Stone
	err = read(ctx, kv, id.String(), &stone)
	return stone, err
}

func read(ctx context.Context, kv jetstream.KeyValue, key string, into any) error {
	entry, err := kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return ErrNotFound
	}
	if err == nil {
		err = json.Unmarshal(entry.Value(), into)
	}
	if err != nil {
		return fmt.Errorf("reading the tombstone %s: %w", key, err)
	}
	return nil
}

// Gaps are the decisions about ranges of a shard.
func (s *Stones) Gaps(ctx context.Context, shard int) ([]Gap, error) {
	kv, err := s.bucket(ctx)
	if err != nil {
		return nil, err
	}
	prefix := gapPrefix(shard)
	keys, err := kv.ListKeysFiltered(ctx, prefix+">")
	if err != nil {
		return nil, fmt.Errorf("listing the accepted gaps of %s: %w", stream.StreamName(shard), err)
	}
	var names []string
	for key := range keys.Keys() {
		names = append(names, key)
	}
	var gaps []Gap
	for _, key := range names {
		b, err := ParseRange(key[strings.LastIndexByte(key, '.')+1:])
		if err != nil {
			continue // not ours
		}
		var value gapValue
		switch err := read(ctx, kv, key, &value); {
		case errors.Is(err, ErrNotFound):
			continue
		case err != nil:
			return nil, err
		}
		b.Shard = shard
		gaps = append(gaps, Gap{b, value.Created, value.Found, value.Stone})
	}
	return gaps, nil
}

// ParseRange reads 101-200.
func ParseRange(text string) (b stream.Bounds, err error) {
	from, to, found := strings.Cut(text, "-")
	var err1, err2 error
	b.From, err1 = strconv.ParseUint(from, 10, 64)
	b.To, err2 = strconv.ParseUint(to, 10, 64)
	if !found || err1 != nil || err2 != nil || b.From < 1 || b.From > b.To {
		return b, fmt.Errorf("%q is not a range of sequences such as 101-200", text)
	}
	return b, nil
}

func (s *Stones) bucket(ctx context.Context) (jetstream.KeyValue, error) {
	kv, err := s.js.KeyValue(ctx, stream.TombstoneBucket)
	if err != nil {
		return nil, fmt.Errorf("opening the bucket %s (storer migrate creates it): %w", stream.TombstoneBucket, err)
	}
	return kv, nil
}
