package stream

import (
	"encoding/base64"
	"fmt"
	"math"
	"strings"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-mail/sluice/pkg/stream/internal/record"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// A message of the log carries one mail or several, a pack:
//
//	payload                raw bytes of mail 1 | raw bytes of mail 2 | …     as long as the sizes in the envelopes say
//	Mail-Envelope          envelope 1
//	Mail-Envelopes         envelope 2,envelope 3,…                           no header repeats: some clients keep one value
//	Mail-Digest            a digest of them all, for audits: see Digest      only in a pack
//	Nats-Msg-Id            the id of mail 1
const (
	// MaxPackBytes bounds the payload of a pack, MaxPackHeader its headers: together they fit the 1 MiB payload limit of
	// an unconfigured server, which takes at most 64 KiB of headers.
	MaxPackBytes  = PartBytes
	MaxPackHeader = 60 << 10
	// packOverhead is the size of a pack's headers without the envelopes: names, line ends, the id, the digest.
	packOverhead = 512
	// maxPackMails bounds the work that a hostile header can cause. An envelope has at least an id and a SHA-256.
	maxPackMails = 64 << 10 / 32
)

// packed is the field requires = PACKED, which the envelope of each mail in a pack has. It is appended to the encoded
// envelope, because in protobuf the last value of a field counts. Mails that can be packed require nothing else.
var packed = protowire.AppendVarint(protowire.AppendTag(nil, requiresField, protowire.VarintType), uint64(mailv1.Require_REQUIRE_PACKED))

const requiresField = 17

// PackRoom is the part of MaxPackHeader that is left for envelopes, in bytes. EnvelopeRoom is how much of it an envelope of n
// encoded bytes takes.
const PackRoom = MaxPackHeader - packOverhead

// EnvelopeRoom: see PackRoom.
func EnvelopeRoom(n int) int { return base64.RawURLEncoding.EncodedLen(n+len(packed)) + 1 }

// EncodePack makes the message that carries the mails of these encoded envelopes; payload is their raw bytes, one after
// the other, sum their digest, or zero. It is published under id, which is made of the first mail's.
func EncodePack(subject, id string, envelopes [][]byte, sum Digest, payload []byte) *nats.Msg {
	header := nats.Header{IDHeader: {id}}
	if len(envelopes) == 1 {
		header[EnvelopeHeader] = []string{base64.RawURLEncoding.EncodeToString(envelopes[0])}
		return &nats.Msg{Subject: subject, Header: header, Data: payload}
	}
	room := 0
	for _, e := range envelopes {
		room += EnvelopeRoom(len(e))
	}
	text, one := make([]byte, 0, room), make([]byte, 0, 512)
	first := 0
	for i, e := range envelopes {
		if i > 1 {
			text = append(text, ',')
		}
		one = append(append(one[:0], e...), packed...)
		text = base64.RawURLEncoding.AppendEncode(text, one)
		if i == 0 {
			first = len(text)
		}
	}
	all := string(text)
	header[EnvelopeHeader], header[EnvelopesHeader] = []string{all[:first]}, []string{all[first:]}
	if sum.Mails > 0 {
		header[DigestHeader] = []string{sum.String()}
	}
	return &nats.Msg{Subject: subject, Header: header, Data: payload}
}

// Decode makes the mails of a message that was read, in their order. ErrUnreadable: at least one of them cannot be read,
// and since the envelopes also say where each mail ends, none can be trusted. ErrTooNew: this program is too old for the
// message and must not touch it. Whether the bytes are those that the envelopes name is for Verify to say.
func Decode(r record.Record, log record.Source) ([]*Message, error) {
	mails, err := decodeEnvelopes(r, log)
	for _, m := range mails { // also when another one cannot be read: a newer version may read it
		if unknown := m.Envelope.GetRequires() &^ understood; unknown != 0 {
			return nil, fmt.Errorf("%w (unknown bits %#x in requires)", ErrTooNew, unknown)
		}
	}
	if err != nil {
		return nil, err
	}
	rest := r.Data
	if mails[0].Envelope.GetParts() > 0 {
		if len(rest) > 0 {
			return nil, fmt.Errorf("%w: its mail is in parts, but there are %d bytes with its head", ErrUnreadable, len(rest))
		}
		return mails, nil
	}
	for _, m := range mails {
		size := m.Envelope.GetSize()
		if size > uint64(len(rest)) {
			return nil, fmt.Errorf("%w: the sizes in its envelopes add up to more than the %d bytes it has", ErrUnreadable, len(r.Data))
		}
		m.Raw, rest = rest[:size:size], rest[size:]
		if m.Raw == nil {
			m.Raw = []byte{}
		}
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%w: the sizes in its envelopes add up to %d bytes, it has %d", ErrUnreadable, len(r.Data)-len(rest), len(r.Data))
	}
	return mails, nil
}

// DecodeHeads is Decode for a message that was read without its payload: the mails lack Raw.
func DecodeHeads(r record.Record, log record.Source) ([]*Message, error) {
	mails, err := decodeEnvelopes(r, log)
	if err != nil {
		return nil, err
	}
	return mails, nil
}

// Unpack is Decode for a message that was read by other means: its mails have no place in the log, and a large one no
// bytes.
func Unpack(header nats.Header, payload []byte) ([]*Message, error) {
	return Decode(record.Record{Header: header, Data: payload}, record.Source{})
}

// decodeEnvelopes makes the mails without their bytes. With an error it still returns those that it could make.
func decodeEnvelopes(r record.Record, log record.Source) ([]*Message, error) {
	texts, err := envelopeTexts(r.Header)
	if err != nil {
		return nil, err
	}
	shard, _ := Shard(r.Stream)
	mails := make([]*Message, 0, len(texts))
	var unreadable error
	for i, text := range texts {
		env, raw, err := DecodeEnvelope(text)
		if err != nil {
			unreadable = fmt.Errorf("%w: mail %d of %d: %w", ErrUnreadable, i+1, len(texts), err)
			continue
		}
		id, err := envelopeID(env)
		if err == nil && env.GetParts() > 0 && len(texts) > 1 {
			err = fmt.Errorf("%w: mail %d of %d is in parts, which is allowed only for a mail that is alone in its message", ErrUnreadable, i+1, len(texts))
		}
		if err == nil && env.GetSize() > math.MaxInt64 {
			err = fmt.Errorf("%w: its size is %d", ErrUnreadable, env.GetSize())
		}
		if err != nil {
			unreadable = err
		}
		mails = append(mails, &Message{
			ID: id, Envelope: env, EnvelopeBytes: raw,
			Stream: r.Stream, Shard: shard, Sequence: r.Sequence, Index: i, Of: len(texts), Time: r.Time,
			Trace: env.GetTrace(), header: r.Header, log: log,
		})
	}
	return mails, unreadable
}

// Mails is how many mails the message with these headers says it carries.
func Mails(h nats.Header) int {
	more := h.Get(EnvelopesHeader)
	if more == "" {
		return 1
	}
	return 2 + strings.Count(more, ",")
}

func envelopeTexts(h nats.Header) ([]string, error) {
	first, more, err := envelopeHeaders(h)
	switch {
	case err != nil:
		return nil, err
	case more == "":
		return []string{first}, nil
	}
	return append([]string{first}, strings.Split(more, ",")...), nil
}

// envelopeHeaders are the envelope of the first mail, and those of the others with commas between them.
func envelopeHeaders(h nats.Header) (first, more string, err error) {
	first, more = h.Get(EnvelopeHeader), h.Get(EnvelopesHeader)
	switch {
	case first == "":
		err = fmt.Errorf("%w: it has no header %s", ErrUnreadable, EnvelopeHeader)
	case strings.Count(more, ",") >= maxPackMails:
		err = fmt.Errorf("%w: its header %s has more envelopes than a message may have mails", ErrUnreadable, EnvelopesHeader)
	}
	return first, more, err
}

// alone is the encoded envelope of a mail that leaves its pack: it does not require PACKED any more. Fields that this
// version does not know survive.
func alone(env *mailv1.Envelope) (string, error) {
	env = proto.Clone(env).(*mailv1.Envelope)
	env.Requires &^= uint64(mailv1.Require_REQUIRE_PACKED)
	return EncodeEnvelope(env)
}
