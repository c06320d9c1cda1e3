package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/stream/internal/record"
	"github.com/sluice-mail/sluice/pkg/stream/internal/wait"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// Head is one mail of the log without its bytes.
type Head struct {
	// ID is zero and Envelope nil when the envelope cannot be decoded (Err says why).
	ID            ulid.ULID
	Envelope      *mailv1.Envelope
	EnvelopeBytes []byte
	Err           error
	// Retry is how often the mail was a dead letter and was retried, as text; empty if never.
	Retry    string
	Stream   string
	Shard    int
	Sequence uint64
	// Index is the mail's place, from 0, among the Of mails of its message.
	Index, Of int
	Time      time.Time
}

// Bounds is a range of sequences of one shard, both ends included; empty when From > To.
type Bounds struct {
	Shard    int
	From, To uint64
}

// Reader reads the log without consuming it: for audits, searches and estimates.
type Reader struct {
	js  jetstream.JetStream
	log record.Source
}

// NewReader reads the log behind nc.
func NewReader(nc *nats.Conn) *Reader {
	return &Reader{js: JetStream(nc), log: record.Source{NC: nc}}
}

// JetStream is jetstream.New without options, which cannot fail.
func JetStream(nc *nats.Conn) jetstream.JetStream {
	js, err := jetstream.New(nc)
	if err != nil {
		panic("stream: " + err.Error())
	}
	return js
}

// Snapshot returns what the shards hold now, of mail that the log took at or after since (zero: all). Unanswered names the
// shards that did not say; the bounds of the others are returned beside it.
func (r *Reader) Snapshot(ctx context.Context, since time.Time) ([]Bounds, error) {
	infos, err := ShardInfos(ctx, r.js)
	silent, partial := errors.AsType[Unanswered](err)
	if err != nil && !partial {
		return nil, err
	}
	all := make([]Bounds, 0, len(infos))
	for _, info := range infos {
		shard, _ := Shard(info.Config.Name)
		b, err := r.bounds(ctx, shard, info.State, since)
		if err != nil {
			silent = append(silent, ShardError{shard, err})
			continue
		}
		all = append(all, b)
	}
	return all, silent.errOrNil()
}

func (r *Reader) bounds(ctx context.Context, shard int, state jetstream.StreamState, since time.Time) (Bounds, error) {
	b := Bounds{Shard: shard, From: state.FirstSeq, To: state.LastSeq}
	if !since.IsZero() {
		from, err := r.SequenceAt(ctx, shard, since)
		if err != nil {
			return b, err
		}
		b.From = max(from, state.FirstSeq)
	}
	if state.Msgs == 0 {
		b.From = b.To + 1
	}
	return b, nil
}

// SequenceAt is the first sequence with a mail that the log took at or after t; the one after the last when
// there is none yet.
func (r *Reader) SequenceAt(ctx context.Context, shard int, t time.Time) (uint64, error) {
	for try := 0; ; try++ {
		first, err := r.log.Since(ctx, StreamName(shard), HeadSubject(shard), t)
		if err == nil {
			return first.Sequence, nil
		}
		if !errors.Is(err, record.ErrNotFound) {
			return 0, fmt.Errorf("looking for the mail of %s: %w", t.Format(time.RFC3339), err)
		}
		s, err := r.js.Stream(ctx, StreamName(shard))
		if err != nil {
			return 0, fmt.Errorf("asking for the state of %s: %w", StreamName(shard), err)
		}
		// Any replica answers the first question, also one that is behind; the leader has said when the last mail came.
		state := s.CachedInfo().State
		if state.Msgs == 0 || state.LastTime.Before(t) {
			return state.LastSeq + 1, nil
		}
		if try == sinceTries {
			return 0, fmt.Errorf("looking for the mail of %s: the log says that there is none, and that its last is of %s",
				t.Format(time.RFC3339), state.LastTime.Format(time.RFC3339))
		}
		wait.For(ctx, sincePause)
	}
}

// A replica is behind for a moment only.
const (
	sinceTries = 20
	sincePause = 100 * time.Millisecond
)

// Heads calls fn for the head of every mail in b in the order of the log, in bounded memory. Sequences that
// retention purges meanwhile are passed over. A message that cannot be read is one head with Err.
func (r *Reader) Heads(ctx context.Context, b Bounds, fn func(Head) error) error {
	if b.From > b.To {
		return nil
	}
	w := record.Walk{JS: r.js, Stream: StreamName(b.Shard), Subject: HeadSubject(b.Shard), From: b.From, To: b.To}
	return w.Each(ctx, func(m record.Walked) error {
		for _, h := range newHeads(m.Record) {
			if err := fn(h); err != nil {
				return err
			}
		}
		return nil
	})
}

// Gaps are the sequences in b that the log does not have although it begins before them. A shard has none: nothing in it is
// ever deleted by itself.
func (r *Reader) Gaps(ctx context.Context, b Bounds) ([]Bounds, error) {
	var gaps []Bounds
	next := b.From
	w := record.Walk{JS: r.js, Stream: StreamName(b.Shard), From: b.From, To: b.To}
	err := w.Each(ctx, func(m record.Walked) error {
		if m.Sequence > next {
			gaps = append(gaps, Bounds{b.Shard, next, m.Sequence - 1})
		}
		next = m.Sequence + 1
		return nil
	})
	if err != nil {
		return nil, err
	}
	if next <= b.To {
		gaps = append(gaps, Bounds{b.Shard, next, b.To})
	}
	if len(gaps) == 0 {
		return nil, nil
	}
	// What retention purged meanwhile is no gap.
	info, err := shardInfo(ctx, r.js, b.Shard)
	if err != nil {
		return nil, err
	}
	var left []Bounds
	for _, g := range gaps {
		if g.From = max(g.From, info.State.FirstSeq); g.From <= g.To {
			left = append(left, g)
		}
	}
	return left, nil
}

func newHeads(r record.Record) []Head {
	retry := r.Header.Get(RetryHeader)
	mails, err := decodeEnvelopes(r, record.Source{})
	if err != nil {
		shard, _ := Shard(r.Stream)
		return []Head{{Err: err, Stream: r.Stream, Shard: shard, Sequence: r.Sequence, Of: 1, Time: r.Time, Retry: retry}}
	}
	heads := make([]Head, len(mails))
	for i, m := range mails {
		heads[i] = Head{
			ID: m.ID, Envelope: m.Envelope, EnvelopeBytes: m.EnvelopeBytes, Retry: retry,
			Stream: m.Stream, Shard: m.Shard, Sequence: m.Sequence, Index: m.Index, Of: m.Of, Time: m.Time,
		}
	}
	return heads
}

// Message reads one mail by the sequence of its message and its place, from 0, in it.
func (r *Reader) Message(ctx context.Context, shard int, sequence uint64, index int) (*Message, error) {
	mails, err := r.Mails(ctx, shard, sequence)
	if err != nil {
		return nil, err
	}
	if index < 0 || index >= len(mails) {
		return nil, fmt.Errorf("sequence %d of %s has %d mails, no number %d", sequence, StreamName(shard), len(mails), index+1)
	}
	return mails[index], nil
}

// Mails reads the mails of one message.
func (r *Reader) Mails(ctx context.Context, shard int, sequence uint64) ([]*Message, error) {
	rec, err := r.log.Sequence(ctx, StreamName(shard), sequence)
	if err != nil {
		return nil, fmt.Errorf("reading sequence %d of %s: %w", sequence, StreamName(shard), err)
	}
	if rec.Subject != HeadSubject(shard) {
		return nil, fmt.Errorf("sequence %d of %s is not the head of a mail", sequence, StreamName(shard))
	}
	return Decode(rec, r.log)
}

// SettledUpTo is the sequence up to which a consumer has settled every mail of a shard, 0 when it does not exist.
func (r *Reader) SettledUpTo(ctx context.Context, shard int, consumer string) (uint64, error) {
	c, err := r.js.Consumer(ctx, StreamName(shard), consumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("asking for the consumer %s of %s: %w", consumer, StreamName(shard), err)
	}
	return c.CachedInfo().AckFloor.Stream, nil
}

// pending asks the log how many messages with mails it has from a sequence on.
func (r *Reader) pending(ctx context.Context, shard int, from uint64) (uint64, error) {
	c, err := r.js.CreateConsumer(ctx, StreamName(shard), jetstream.ConsumerConfig{
		FilterSubject: HeadSubject(shard), DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(from, 1),
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: record.WalkIdle,
	})
	if err != nil {
		return 0, fmt.Errorf("counting the mails of %s: %w", StreamName(shard), err)
	}
	info := c.CachedInfo()
	_ = r.js.DeleteConsumer(ctx, StreamName(shard), info.Name) // else the server does after WalkIdle
	return info.NumPending, nil
}

// Count asks the log how many messages with mails b has; what arrives between the questions makes it a little low.
func (r *Reader) Count(ctx context.Context, b Bounds) (uint64, error) {
	from, err := r.pending(ctx, b.Shard, b.From)
	if err != nil {
		return 0, err
	}
	after, err := r.pending(ctx, b.Shard, b.To+1)
	if err != nil {
		return 0, err
	}
	return from - min(after, from), nil
}

// LastHead is the sequence of the last mail at or before upTo, 0 when there is none.
func (r *Reader) LastHead(ctx context.Context, shard int, upTo uint64) (uint64, error) {
	last, err := r.log.LastUpTo(ctx, StreamName(shard), HeadSubject(shard), upTo)
	if errors.Is(err, record.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("looking for the last mail of %s: %w", StreamName(shard), err)
	}
	return last.Sequence, nil
}
