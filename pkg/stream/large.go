package stream

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// A part is acknowledged when it is staged; stagedAhead may be on their way at once. The stream's ingest queue
// (128 MiB on an unconfigured server) is shared by all ingresses, and what overruns it is lost.
const stagedAhead = 4

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
		return fmt.Errorf("publishing mail %s: %w: its turn among the large mails did not come in time", id, ErrBusy)
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
	s.queue.large.Add(size)
	defer s.queue.large.Add(-size)
	if err := l.publish(ctx); err != nil {
		return fmt.Errorf("publishing mail %s (%d bytes in %d parts): %w", id, m.Envelope.Size, l.parts, err)
	}
	return nil
}

func newLargeMail(p *Publisher, s *shard, id string, m Mail) (*largeMail, error) {
	l := &largeMail{p: p, shard: s, id: id, mail: m, body: m.Body, copy: 1, buf: make([]byte, PartBytes)}
	if m.Raw != nil {
		l.body = bytes.NewReader(m.Raw)
	}
	l.parts = int((m.Envelope.Size + PartBytes - 1) / PartBytes)
	env := proto.Clone(m.Envelope).(*mailv1.Envelope)
	env.Parts = uint32(l.parts)
	env.Requires |= uint64(mailv1.Require_REQUIRE_PARTS)
	var err error
	l.envelope, err = EncodeEnvelope(env)
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
				return err
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
		l.shard.queue.note(result, a, 0)
	}
	reason := a.reason()
	switch result {
	case stored:
		return result, true, nil
	case full:
		return result, true, fmt.Errorf("%w: %w", ErrFull, reason)
	case wrong:
		l.p.logger.Error("the log refuses a large mail; its sender was told to try again", "id", l.id, "reason", reason)
		return result, true, fmt.Errorf("%w: %w", ErrRefused, reason)
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

// attempt publishes the batch once. The error is for what is wrong on this side: the mail cannot be read.
func (l *largeMail) attempt(ctx context.Context) (answer, error) {
	lost := l.p.link.disconnected()
	t := l.p.replies.open(l.parts + 1)
	defer t.close()
	b := newBatch(l.p.nc)
	staged := 0
	for i := range l.parts {
		for i-staged >= stagedAhead {
			n, a := l.shard.queue.await(ctx, t, lost, l.p.answerWait)
			if n < 0 || a.Error != nil || a.lost != nil {
				return a, nil
			}
			staged++
		}
		part, err := l.read(i)
		if err != nil {
			return answer{}, err
		}
		msg := &nats.Msg{Subject: PartSubject(l.shard.number), Header: nats.Header{}, Data: part, Reply: t.subject(i)}
		if err := b.add(msg); err != nil {
			return answer{lost: fmt.Errorf("%w: %w", errDisconnected, err)}, nil
		}
	}
	l.shard.queue.letPass(ctx)
	it := item{id: l.id, envelope: l.envelope, copy: l.copy, mail: Mail{Trace: l.mail.Trace}}
	head := it.message(HeadSubject(l.shard.number))
	head.Reply = t.subject(l.parts)
	if err := b.commit(head); err != nil {
		return answer{lost: fmt.Errorf("%w: %w", errDisconnected, err)}, nil
	}
	return l.awaitCommit(ctx, t, lost, b), nil
}

// awaitCommit skips the remaining acknowledgements of parts. The server writes the whole mail once more before it
// answers, so that takes longer than a small mail.
func (l *largeMail) awaitCommit(ctx context.Context, t ticket, lost <-chan struct{}, b *batch) answer {
	for {
		n, a := l.shard.queue.await(ctx, t, lost, 4*l.p.answerWait)
		switch {
		case n < 0 || a.lost != nil || a.Error != nil:
			return a
		case n < l.parts:
			continue
		case !b.confirmed(a) || a.Sequence <= uint64(l.parts):
			// Its parts are found by counting back from the head: what does not add up must not be a 250.
			return answer{lost: fmt.Errorf("%w: it confirms %d messages up to %d of %d", errStrange, a.Count, a.Sequence, b.size)}
		}
		return a
	}
}

func (l *largeMail) read(part int) ([]byte, error) {
	from := int64(part) * PartBytes
	n := min(PartBytes, int64(l.mail.Envelope.Size)-from)
	if _, err := io.ReadFull(io.NewSectionReader(l.body, from, n), l.buf[:n]); err != nil {
		return nil, fmt.Errorf("reading the spooled mail: %w", err)
	}
	return l.buf[:n], nil
}
