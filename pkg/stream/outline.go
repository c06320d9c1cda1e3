package stream

import (
	"context"
	"encoding/base64"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sluice-mail/sluice/pkg/stream/internal/record"
)

// Outline is what an audit has to know of a mail: a tenth of the work of a Head.
type Outline struct {
	// ID is zero when the envelope cannot be decoded (Err says why).
	ID     ulid.ULID
	Size   int64
	SHA256 [32]byte
	Parts  uint32
	// Mailboxes are valid until the function that was given the Outline returns.
	Mailboxes [][]byte
	Err       error
	// Digest, when it is of any mails, stands for all mails of the message, and the fields above are not set. See Digests.
	Digest Digest

	Shard    int
	Sequence uint64
	Index    int // the mail's place, from 0, in its message
	Time     time.Time
}

// Outlines is Heads for those who need no envelopes. The Outline is valid until fn returns.
func (r *Reader) Outlines(ctx context.Context, b Bounds, fn func(*Outline) error) error {
	return r.outlines(ctx, b, &outliner{}, fn)
}

// Digests is Outlines, but the mails of a message that has a digest are one Outline. They are not decoded.
func (r *Reader) Digests(ctx context.Context, b Bounds, fn func(*Outline) error) error {
	return r.outlines(ctx, b, &outliner{digests: true}, fn)
}

func (r *Reader) outlines(ctx context.Context, b Bounds, s *outliner, fn func(*Outline) error) error {
	if b.From > b.To {
		return nil
	}
	w := record.Walk{JS: r.js, Stream: StreamName(b.Shard), Subject: HeadSubject(b.Shard), From: b.From, To: b.To}
	return w.Each(ctx, func(m record.Walked) error {
		mails := s.message(m.Record)
		for i := range mails {
			o := &mails[i]
			o.Shard, o.Sequence, o.Index, o.Time = b.Shard, m.Sequence, i, m.Time
			if err := fn(o); err != nil {
				return err
			}
		}
		return nil
	})
}

// outliner reads one message after the other into the same memory.
type outliner struct {
	digests   bool // whether a digest stands for the mails of its message
	mails     []Outline
	text, raw []byte
}

// message makes the outlines of a message; it is one with Err when one of its envelopes cannot be decoded, as decodeEnvelopes says.
func (s *outliner) message(r record.Record) []Outline {
	if s.digests {
		if d, ok := headerDigest(r.Header); ok {
			s.mails = append(s.mails[:0], Outline{Digest: d})
			return s.mails
		}
	}
	s.mails, s.raw = s.mails[:0], s.raw[:0]
	first, more, err := envelopeHeaders(r.Header)
	alone := more == ""
	for next := !alone; err == nil; first, more, next = strings.Cut(more, ",") {
		if err = s.add(first); err == nil && s.mails[len(s.mails)-1].Parts > 0 && !alone {
			err = fmt.Errorf("mail %d is in parts, which is allowed only for a mail that is alone in its message", len(s.mails))
		}
		if !next {
			break
		}
	}
	if err != nil {
		s.mails = append(s.mails[:0], Outline{Err: fmt.Errorf("%w: %w", ErrUnreadable, err)})
	}
	return s.mails
}

// add makes the outline of one mail.
func (s *outliner) add(text string) (err error) {
	from := len(s.raw)
	s.text = append(s.text[:0], text...)
	if s.raw, err = base64.RawURLEncoding.AppendDecode(s.raw, s.text); err != nil {
		return err
	}
	if len(s.mails) == cap(s.mails) {
		s.mails = append(s.mails, Outline{})
	} else {
		s.mails = s.mails[:len(s.mails)+1]
	}
	o := &s.mails[len(s.mails)-1]
	*o = Outline{Mailboxes: o.Mailboxes[:0]}
	return o.decode(s.raw[from:])
}

// decode reads an envelope. What it does not need it checks as the generated code does.
func (o *Outline) decode(raw []byte) error {
	hasID := false
	for len(raw) > 0 {
		field, kind, n := consumeTag(raw)
		if n < 0 {
			return protowire.ParseError(n)
		}
		raw = raw[n:]
		switch kind {
		case protowire.VarintType:
			v, n := protowire.ConsumeVarint(raw)
			if n < 0 {
				return protowire.ParseError(n)
			}
			raw = raw[n:]
			switch field {
			case 13:
				if v > math.MaxInt64 {
					return fmt.Errorf("its size is %d", v)
				}
				o.Size = int64(v)
			case 16:
				o.Parts = uint32(v)
			}
		case protowire.BytesType:
			v, n := protowire.ConsumeBytes(raw)
			if n < 0 {
				return protowire.ParseError(n)
			}
			raw = raw[n:]
			if field == 1 {
				hasID = len(v) == len(o.ID)
				copy(o.ID[:], v)
				continue
			}
			if err := o.bytes(field, v); err != nil {
				return err
			}
		default:
			n := protowire.ConsumeFieldValue(field, kind, raw)
			if n < 0 {
				return protowire.ParseError(n)
			}
			raw = raw[n:]
		}
	}
	if !hasID {
		return fmt.Errorf("its id does not have %d bytes", len(o.ID))
	}
	return nil
}

// consumeTag is protowire's, and refuses the same field numbers as the generated code: protowire takes those over the largest as well.
func consumeTag(raw []byte) (field protowire.Number, kind protowire.Type, n int) {
	field, kind, n = protowire.ConsumeTag(raw)
	if n > 0 && field > protowire.MaxValidNumber {
		n = -1
	}
	return field, kind, n
}

func (o *Outline) bytes(field protowire.Number, v []byte) error {
	switch field {
	case 10:
		mailbox, err := texts(v, 2)
		o.Mailboxes = append(o.Mailboxes, mailbox)
		return err
	case 14:
		o.SHA256 = [32]byte{}
		copy(o.SHA256[:], v)
	case 8:
		_, err := texts(v, 3)
		return err
	case 4, 5:
		_, err := texts(v, 0)
		return err
	case 3, 6, 7, 9, 18, 19:
		if !utf8.Valid(v) {
			return errNotUTF8
		}
	}
	return nil
}

var errNotUTF8 = fmt.Errorf("a text in it is not UTF-8")

// texts walks through a message whose first fields, up to the one named, are texts, and returns the first.
func texts(raw []byte, upTo protowire.Number) (first []byte, err error) {
	for len(raw) > 0 {
		field, kind, n := consumeTag(raw)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		raw = raw[n:]
		if n = protowire.ConsumeFieldValue(field, kind, raw); n < 0 {
			return nil, protowire.ParseError(n)
		}
		if kind == protowire.BytesType && field <= upTo {
			v, _ := protowire.ConsumeBytes(raw)
			if !utf8.Valid(v) {
				return nil, errNotUTF8
			}
			if field == 1 {
				first = v
			}
		}
		raw = raw[n:]
	}
	return first, nil
}
