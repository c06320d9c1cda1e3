package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"

	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// Message is one mail as a Handler gets it.
type Message struct {
	ID       ulid.ULID
	Envelope *mailv1.Envelope
	// EnvelopeBytes is the envelope as it was sent, with fields this version may not know.
	EnvelopeBytes []byte
	// Raw is the mail. It is nil for a large one (Envelope.Parts > 0), which is read through Open.
	Raw []byte

	Stream   string
	Shard    int
	Sequence uint64
	// Time is when the log took the mail.
	Time time.Time
	// Delivered counts the deliveries of this mail, this one included.
	Delivered uint64
	// Alone says that earlier attempts ended badly: the mail is handled by itself, and the handler should do
	// without everything it can do without (no derived columns).
	Alone bool
	// Trace is the W3C traceparent of the SMTP transaction, empty when not traced.
	Trace string

	log partSource
}

// understood are the bits of Envelope.requires this version knows what to do with.
const understood = uint64(mailv1.Require_REQUIRE_PARTS)

var (
	errUnreadable = errors.New("the envelope cannot be read")
	errTooNew     = errors.New("the mail requires a newer version of this program")
)

// record is one message of a stream, whichever way it was read.
type record struct {
	stream   string
	subject  string
	sequence uint64
	time     time.Time
	header   nats.Header
	data     []byte
}

// decode makes a Message of a head. errUnreadable means a dead letter; errTooNew means that this program is
// too old and must not touch the mail.
func decode(r record, log partSource) (*Message, error) {
	env, raw, err := DecodeEnvelope(r.header.Get(EnvelopeHeader))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	if unknown := env.GetRequires() &^ understood; unknown != 0 {
		return nil, fmt.Errorf("%w (unknown bits %#x in requires)", errTooNew, unknown)
	}
	id, err := envelopeID(env)
	if err != nil {
		return nil, err
	}
	shard, _ := Shard(r.stream)
	m := &Message{
		ID: id, Envelope: env, EnvelopeBytes: raw,
		Stream: r.stream, Shard: shard, Sequence: r.sequence, Time: r.time,
		Trace: r.header.Get(TraceHeader), log: log,
	}
	if env.GetParts() == 0 {
		m.Raw = r.data
		if m.Raw == nil {
			m.Raw = []byte{}
		}
	}
	return m, nil
}

func envelopeID(env *mailv1.Envelope) (ulid.ULID, error) {
	var id ulid.ULID
	if len(env.GetId()) != len(id) {
		return id, fmt.Errorf("%w: its id has %d bytes instead of %d", errUnreadable, len(env.GetId()), len(id))
	}
	copy(id[:], env.GetId())
	return id, nil
}

// Open returns the raw mail, small or large. Size and SHA-256 are verified at the end: instead of io.EOF a
// damaged mail ends with ErrDamaged, which no retry cures. Every other error is one of reaching the log.
func (m *Message) Open(ctx context.Context) (io.ReadCloser, error) {
	if m.Envelope.GetParts() == 0 {
		return newVerifier(io.NopCloser(bytes.NewReader(m.Raw)), m.Envelope), nil
	}
	if uint64(m.Envelope.GetParts()) >= m.Sequence {
		return nil, fmt.Errorf("%w: sequence %d cannot have %d parts before it", ErrDamaged, m.Sequence, m.Envelope.GetParts())
	}
	return newVerifier(openParts(ctx, m), m.Envelope), nil
}
