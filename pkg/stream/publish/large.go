package publish

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-mail/sluice/pkg/stream"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// largeMail is a mail on its way as one atomic batch: parts, then the head.
type largeMail struct {
	p        *Publisher
	shard    *shard
	id       string
	envelope string
	mail     Mail
	body     io.ReaderAt
	parts    int
	copy     int
	buf      []byte
	unsure   bool  // an attempt went unanswered
	last     error // why it is not stored yet
}

// publishLarge publishes a mail that does not fit into one message.
func (p *Publisher) publishLarge(ctx context.Context, id string, m Mail) error {
	select {
	case p.large <- struct{}{}:
		defer func() { <-p.large }()
	case <-ctx.Done():
		return fmt.Errorf("publishing mail %s: %w: too many large mails are waiting before it", id, ErrBusy)
	}
	s, err := p.pick()
	if err != nil {
		return err
	}
	l, err := newLargeMail(p, s, id, m)
	if err != nil {
		return err
	}
	size := int64(m.Envelope.Size)
	s.driver.large.Add(size)
	defer s.driver.large.Add(-size)
	if err := l.publish(ctx); err != nil {
		return fmt.Errorf("publishing mail %s (%d bytes in %d parts): %w", id, m.Envelope.Size, l.parts, err)
	}
	return nil
}

func newLargeMail(p *Publisher, s *shard, id string, m Mail) (*largeMail, error) {
	l := &largeMail{p: p, shard: s, id: id, mail: m, body: m.Body, copy: 1, buf: make([]byte, stream.PartBytes)}
	if m.Raw != nil {
		l.body = bytes.NewReader(m.Raw)
	}
	l.parts = int((m.Envelope.Size + stream.PartBytes - 1) / stream.PartBytes)
	env := proto.Clone(m.Envelope).(*mailv1.Envelope)
	env.Parts = uint32(l.parts)
	env.Requires |= uint64(mailv1.Require_REQUIRE_PARTS)
	var err error
	l.envelope, err = stream.EncodeEnvelope(env)
	if err != nil {
		return nil, fmt.Errorf("publishing mail %s: %w", id, err)
	}
	return l, nil
}

// publish makes attempts until one is decided or the time is up.
func (l *largeMail) publish(ctx context.Context) error {
	for wait := firstPause; ; wait = min(2*wait, longPause) {
		result := busy
		if l.p.link.wait(ctx) {
			a, err := l.attempt(ctx)
			if err != nil {
				return l.word(err, err)
			}
			var done bool
			if result, done, err = l.settle(a); done {
				return err
			}
		}
		if result != doubled {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
		}
		if ctx.Err() == nil {
			continue
		}
		switch {
		case l.unsure:
			return unconfirmed(l.last)
		case l.last != nil:
			return l.last
		}
		return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}

// settle is the table of outcomes for a large mail; done says that err is the word.
func (l *largeMail) settle(a answer) (result outcome, done bool, err error) {
	l.p.metrics.answers.WithLabelValues(a.label()).Inc()
	result = classify(a)
	if result != full { // that a large mail does not fit says nothing about small ones
		l.shard.note(result, a, 0)
	}
	reason := a.reason()
	switch result {
	case stored:
		return result, true, nil
	case full:
		return result, true, l.word(fmt.Errorf("%w: %w", ErrFull, reason), reason)
	case wrong:
		l.p.logger.Error("the log refuses a large mail; its sender was told to try again", "id", l.id, "reason", reason)
		return result, true, l.word(fmt.Errorf("%w: %w", ErrRefused, reason), reason)
	case doubled:
		l.copy++
		l.unsure, l.last = true, reason
	case busy:
		l.last = fmt.Errorf("%w: %w", ErrBusy, reason)
	case absent:
		l.last = fmt.Errorf("%w: %w", ErrUnavailable, reason)
	case unsure:
		l.unsure, l.last = true, reason
	}
	l.p.logger.Warn("a large mail is published again", "id", l.id, "shard", l.shard.number, "reason", reason)
	return result, false, nil
}

// word is the final error for the sender. err says that the mail is not in the log, which is certain only if every attempt was
// answered. Otherwise the error is "unconfirmed".
func (l *largeMail) word(err, reason error) error {
	if l.unsure {
		return unconfirmed(reason)
	}
	return err
}

// attempt publishes the batch once. The only error is that the mail cannot be read on this side.
func (l *largeMail) attempt(ctx context.Context) (answer, error) {
	b := batch{
		nc: l.p.nc, replies: l.p.replies, wait: l.p.answerWait, lost: l.p.link.disconnected(),
		beforeCommit: func() { l.shard.driver.letPass(ctx) },
	}
	head := &nats.Msg{Subject: stream.HeadSubject(l.shard.number), Header: nats.Header{
		stream.IDHeader: {copyID(l.id, l.copy)}, stream.EnvelopeHeader: {l.envelope},
	}}
	return b.send(ctx, head, l.read)
}

// read gives the parts in order, each in the same buffer.
func (l *largeMail) read(yield func(*nats.Msg, error) bool) {
	for part := range l.parts {
		data, err := l.part(part)
		msg := &nats.Msg{Subject: stream.PartSubject(l.shard.number), Header: nats.Header{}, Data: data}
		if !yield(msg, err) {
			return
		}
	}
}

func (l *largeMail) part(part int) ([]byte, error) {
	from := int64(part) * stream.PartBytes
	n := min(stream.PartBytes, int64(l.mail.Envelope.Size)-from)
	if _, err := io.ReadFull(io.NewSectionReader(l.body, from, n), l.buf[:n]); err != nil {
		return nil, fmt.Errorf("reading the spooled mail: %w", err)
	}
	return l.buf[:n], nil
}
