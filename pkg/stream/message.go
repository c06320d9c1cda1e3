package stream

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/stream/internal/record"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// Message is one mail of the log.
type Message struct {
	ID       ulid.ULID
	Envelope *mailv1.Envelope
	// EnvelopeBytes is the envelope as it was sent, with fields this version may not know.
	EnvelopeBytes []byte
	// Raw is the mail, a part of the message's payload. It is nil for a large one (Envelope.Parts > 0), which is read
	// through Open.
	Raw []byte

	Stream   string
	Shard    int
	Sequence uint64
	// Index is the mail's place, from 0, among the Of mails of the stream's message at Sequence.
	Index, Of int
	// Time is when the log took the mail.
	Time time.Time
	// Delivered counts the deliveries of the message, this one included.
	Delivered uint64
	// Alone says that earlier attempts failed badly, for example in a panic. The mail is passed to the handler without others, and
	// the handler should skip everything optional, such as derived columns.
	Alone bool
	// Trace is the W3C traceparent of the SMTP transaction, empty when not traced.
	Trace string

	header nats.Header
	log    record.Source
}

// understood are the bits of Envelope.requires that this version supports.
const understood = uint64(mailv1.Require_REQUIRE_PARTS | mailv1.Require_REQUIRE_PACKED)

var (
	// ErrDamaged: the log does not hold what the envelope says: parts are missing or mixed up, or size or SHA-256
	// are wrong. The mail is a dead letter.
	ErrDamaged = errors.New("the mail is damaged in the log")
	// ErrUnreadable: what the log holds is not a mail; it is a dead letter.
	ErrUnreadable = errors.New("the envelope cannot be read")
	// ErrTooNew: this program is too old for the mail and must not touch it.
	ErrTooNew = errors.New("the mail requires a newer version of this program")
)

// Unreadable makes a Message of what Decode cannot read: it has a place and its bytes, but neither id nor envelope.
func Unreadable(r record.Record, log record.Source) *Message {
	shard, _ := Shard(r.Stream)
	return &Message{Stream: r.Stream, Shard: shard, Sequence: r.Sequence, Time: r.Time, Raw: r.Data, header: r.Header, log: log}
}

// Verify checks that the bytes of a small mail have the size and SHA-256 of its envelope; otherwise it returns ErrDamaged. It must be
// called before the bytes are passed on; otherwise a reader could get the bytes of another mail. Those of a large mail are
// checked while they are read.
func (m *Message) Verify() error {
	if m.Envelope.GetParts() > 0 {
		return nil
	}
	sum := sha256.Sum256(m.Raw)
	return checkBytes(m.Envelope, uint64(len(m.Raw)), sum[:])
}

func checkBytes(env *mailv1.Envelope, size uint64, sum []byte) error {
	if size != env.GetSize() {
		return fmt.Errorf("%w: it has %d bytes, the envelope says %d", ErrDamaged, size, env.GetSize())
	}
	if !bytes.Equal(sum, env.GetSha256()) {
		return fmt.Errorf("%w: its SHA-256 is %x, the envelope says %x", ErrDamaged, sum, env.GetSha256())
	}
	return nil
}

// Key names the mail for people: its id in text, or what else the log knows it by when its envelope cannot be read.
func (m *Message) Key() string {
	if m.Envelope != nil {
		return m.ID.String()
	}
	if id := m.header.Get(IDHeader); id != "" {
		return id
	}
	return m.Stream + "-" + strconv.FormatUint(m.Sequence, 10)
}

// Head is the message that carries this mail alone (of a large one: its head) to another subject, without the headers of
// its way through the log.
func (m *Message) Head(subject string) (*nats.Msg, error) {
	head := &nats.Msg{Subject: subject, Header: ownHeaders(m.header)}
	if m.Envelope.GetParts() == 0 {
		head.Data = m.Raw
	}
	if m.Of <= 1 {
		return head, nil
	}
	text, err := alone(m.Envelope)
	if err != nil {
		return nil, err
	}
	head.Header.Set(EnvelopeHeader, text)
	head.Header.Del(EnvelopesHeader)
	return head, nil
}

// Place names the mail's place in the log: MAIL_0/17, or MAIL_0/17/3 for the third mail of a pack.
func (m *Message) Place() string {
	place := m.Stream + "/" + strconv.FormatUint(m.Sequence, 10)
	if m.Of > 1 {
		place += "/" + strconv.Itoa(m.Index+1)
	}
	return place
}

// Part reads part i (from 0) of a large mail and addresses it to another subject. ErrDamaged: the log does not have it.
func (m *Message) Part(ctx context.Context, i uint32, subject string) (*nats.Msg, error) {
	r, err := m.log.Sequence(ctx, m.Stream, m.partSequence(i))
	switch {
	case errors.Is(err, record.ErrNotFound) || err == nil && !m.ownsPart(r):
		return nil, fmt.Errorf("%w: part %d is missing", ErrDamaged, i+1)
	case err != nil:
		return nil, fmt.Errorf("reading part %d: %w", i+1, err)
	}
	return &nats.Msg{Subject: subject, Header: ownHeaders(r.Header), Data: r.Data}, nil
}

// ownHeaders are the headers that belong to the mail, without those of its way through the log.
func ownHeaders(h nats.Header) nats.Header {
	own := maps.Clone(h)
	maps.DeleteFunc(own, func(name string, _ []string) bool { return strings.HasPrefix(name, "Nats-") || name == "Status" })
	if own == nil {
		own = nats.Header{}
	}
	return own
}

func envelopeID(env *mailv1.Envelope) (ulid.ULID, error) {
	var id ulid.ULID
	if len(env.GetId()) != len(id) {
		return id, fmt.Errorf("%w: its id has %d bytes instead of %d", ErrUnreadable, len(env.GetId()), len(id))
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
