package dead

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/record"
	"github.com/sluice-mail/sluice/pkg/stream/tombstone"
)

// ErrNotFound: no dead letter has that id.
var ErrNotFound = errors.New("no such dead letter")

// Letter describes one dead letter: a mail that could not be handled.
type Letter struct {
	// ID is zero when the envelope could not be decoded; Key then still names the dead letter.
	ID ulid.ULID
	// Key is the id as text, or if it has none the message id under which the mail was published.
	Key      string
	Reason   string // why it could not be handled
	Attempts uint64 // deliveries before it became a dead letter
	// Died is when it became a dead letter, Accepted when the log took the mail.
	Died     time.Time
	Accepted time.Time
	// Stream and Sequence are where the mail was in the log.
	Stream   string
	Sequence uint64
	// DeadSequence is where the copy is in MAIL_DEAD.
	DeadSequence uint64
	// Retries is how often it was retried before.
	Retries int
	// Message has the envelope and Open. After List it lacks Raw; when the envelope could not be decoded, it
	// has nothing but Raw.
	Message *stream.Message
}

// Letters lists, retries and drops the dead letters.
type Letters struct {
	nc  *nats.Conn
	js  jetstream.JetStream
	log record.Source
	// poll is how often a retry asks whether the storer has settled the mail.
	poll time.Duration
}

// New gives access to MAIL_DEAD.
func New(nc *nats.Conn) *Letters {
	return &Letters{nc: nc, js: stream.JetStream(nc), log: record.Source{NC: nc}, poll: 100 * time.Millisecond}
}

// List calls fn for every dead letter, oldest first, without reading the mails.
func (d *Letters) List(ctx context.Context, fn func(Letter) error) error {
	s, err := d.js.Stream(ctx, stream.DeadStream)
	if err != nil {
		return fmt.Errorf("asking for the dead letters: %w", err)
	}
	w := record.Walk{JS: d.js, Stream: stream.DeadStream, Subject: stream.DeadSubject, To: s.CachedInfo().State.LastSeq}
	return w.Each(ctx, func(m record.Walked) error { return fn(d.letter(m.Record, stream.DecodeHeads)) })
}

// letter makes a Letter of what was read; decode is for a record with its payload or without.
func (d *Letters) letter(r record.Record, decode func(record.Record, record.Source) ([]*stream.Message, error)) Letter {
	h := r.Header
	l := Letter{Key: h.Get(stream.DeadIDHeader), Reason: h.Get(stream.DeadReasonHeader), Stream: h.Get(stream.DeadStreamHeader), DeadSequence: r.Sequence}
	// These headers are our own; one that is missing or cut leaves a zero value and the rest readable.
	l.Attempts, _ = strconv.ParseUint(h.Get(stream.DeadAttemptsHeader), 10, 64)
	l.Sequence, _ = strconv.ParseUint(h.Get(stream.DeadSequenceHeader), 10, 64)
	l.Died, _ = time.Parse(time.RFC3339Nano, h.Get(stream.DeadTimeHeader))
	l.Accepted, _ = time.Parse(time.RFC3339Nano, h.Get(stream.DeadAcceptedHeader))
	l.Retries, _ = strconv.Atoi(h.Get(stream.RetryHeader))
	m := stream.Unreadable(r, d.log)
	if mails, err := decode(r, d.log); err == nil && len(mails) == 1 {
		m = mails[0]
	}
	l.ID, l.Message = m.ID, m
	return l
}

// copies are the sequences in MAIL_DEAD of every dead letter with that key, oldest first. There are several
// when the log's answer to the first was lost, or when a retry died again.
func (d *Letters) copies(ctx context.Context, key string) ([]uint64, error) {
	var found []uint64
	err := d.List(ctx, func(l Letter) error {
		if l.Key == key {
			found = append(found, l.DeadSequence)
		}
		return nil
	})
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("%w: %s", ErrNotFound, key)
	}
	return found, err
}

func (d *Letters) read(ctx context.Context, sequence uint64) (Letter, error) {
	r, err := d.log.Sequence(ctx, stream.DeadStream, sequence)
	if err != nil {
		return Letter{}, fmt.Errorf("reading a dead letter: %w", err)
	}
	return d.letter(r, stream.Decode), nil
}

// Get returns the newest dead letter with that key (an id in text), its Message complete.
func (d *Letters) Get(ctx context.Context, key string) (Letter, error) {
	found, err := d.copies(ctx, key)
	if err != nil {
		return Letter{}, err
	}
	return d.read(ctx, found[len(found)-1])
}

// Drop removes a dead letter for good. It leaves a tombstone that says who did so; otherwise audits would report the mail as
// missing.
func (d *Letters) Drop(ctx context.Context, key, who, why string) error {
	found, err := d.copies(ctx, key)
	if err != nil {
		return err
	}
	if id, err := ulid.ParseStrict(key); err == nil { // else its envelope cannot be read, and no audit knows it by an id
		stone := tombstone.Stone{What: tombstone.Dropped, Who: who, When: time.Now().UTC(), Why: why}
		if err := tombstone.New(d.nc).Put(ctx, id, stone); err != nil {
			return err
		}
	}
	return d.remove(ctx, found)
}

// remove deletes dead letters, the parts before the head, so that after an interruption the head is still found and the rest can be
// deleted.
func (d *Letters) remove(ctx context.Context, heads []uint64) error {
	s, err := d.js.Stream(ctx, stream.DeadStream)
	if err != nil {
		return fmt.Errorf("asking for the dead letters: %w", err)
	}
	for _, head := range heads {
		l, err := d.read(ctx, head)
		if errors.Is(err, record.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		parts := uint64(0)
		if l.Message.Envelope != nil {
			parts = uint64(l.Message.Envelope.GetParts())
		}
		for seq := head - min(parts, head-1); seq <= head; seq++ {
			if err := s.DeleteMsg(ctx, seq); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) && !isMissing(err) {
				return fmt.Errorf("removing a dead letter (sequence %d of %s): %w", seq, stream.DeadStream, err)
			}
		}
	}
	return nil
}

// isMissing: deleting what is not there is an error of its own to the server (10057, "no message found").
func isMissing(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.Code == 404 || api.ErrorCode == 10057)
}
