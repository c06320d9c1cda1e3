package stream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// copyWait bounds one answer of the log to a copy.
const copyWait = 10 * time.Second

// copyEvery is how many members of a large copy go without asking whether the log keeps up.
const copyEvery = 4

// publishDead writes the whole mail to MAIL_DEAD and returns nil only when the log has it.
func (e *engine) publishDead(ctx context.Context, d *delivery, reason string) error {
	key := d.record.header.Get(IDHeader)
	if d.mail != nil {
		key = d.mail.ID.String()
	} else if key == "" {
		key = d.record.stream + "-" + strconv.FormatUint(d.record.sequence, 10)
	}
	head := &nats.Msg{Subject: DeadSubject, Header: ownHeaders(d.record.header), Data: d.record.data}
	for name, value := range map[string]string{
		DeadIDHeader:       key,
		DeadReasonHeader:   reason,
		DeadTimeHeader:     time.Now().UTC().Format(time.RFC3339Nano),
		DeadStreamHeader:   d.record.stream,
		DeadSequenceHeader: strconv.FormatUint(d.record.sequence, 10),
		DeadAttemptsHeader: strconv.FormatUint(d.delivered, 10),
		DeadAcceptedHeader: d.record.time.UTC().Format(time.RFC3339Nano),
	} {
		head.Header.Set(name, value)
	}
	c := mailCopy{nc: e.nc, log: e.log, head: head, partSubject: DeadPartSubject, of: d.mail, lenient: true}
	_, err := c.publish(ctx, "dead/"+d.record.stream+"/"+strconv.FormatUint(d.record.sequence, 10))
	return err
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

// mailCopy publishes a mail of the log to another subject, a large one as one atomic batch like the first time.
type mailCopy struct {
	nc          *nats.Conn
	log         partSource
	head        *nats.Msg
	partSubject string
	of          *Message // where the parts are; nil or without parts for small mail
	// lenient: a part that is gone is replaced by a marked empty one. A dead letter keeps what there is.
	lenient bool
}

// publish returns the sequence of the head. id is what the log knows a second attempt by.
func (c mailCopy) publish(ctx context.Context, id string) (uint64, error) {
	a, err := c.attempt(ctx, id)
	if err == nil && classify(a) == doubled {
		// The earlier attempt may not be synced yet. A second copy is harmless, so it is made.
		a, err = c.attempt(ctx, id+"/"+nuid.Next())
	}
	if err != nil {
		return 0, err
	}
	switch classify(a) {
	case stored:
		return a.Sequence, nil
	case full:
		return 0, fmt.Errorf("%w: %w", ErrFull, a.reason())
	case busy:
		return 0, fmt.Errorf("%w: %w", ErrBusy, a.reason())
	}
	return 0, fmt.Errorf("publishing to %s: %w", c.head.Subject, a.reason())
}

func (c mailCopy) attempt(ctx context.Context, id string) (answer, error) {
	head := &nats.Msg{Subject: c.head.Subject, Header: maps.Clone(c.head.Header), Data: c.head.Data}
	head.Header.Set(IDHeader, id)
	if c.of == nil || c.of.Envelope.GetParts() == 0 {
		return ask(ctx, c.nc, head), nil
	}
	b := newBatch(c.nc)
	for i := range c.of.Envelope.GetParts() {
		msg, err := c.part(ctx, i)
		if err != nil {
			return answer{}, err
		}
		if i%copyEvery != 0 {
			if err := b.add(msg); err != nil {
				return answer{}, fmt.Errorf("publishing to %s: %w", msg.Subject, err)
			}
			continue
		}
		if a := b.ask(ctx, msg); a.lost != nil || a.Error != nil {
			return a, nil
		}
	}
	head.Header.Set(batchCommitHeader, "1")
	a := b.ask(ctx, head)
	if classify(a) == stored && !b.confirmed(a) {
		return answer{lost: errStrange}, nil
	}
	return a, nil
}

// part reads part i (from 0) and addresses it anew.
func (c mailCopy) part(ctx context.Context, i uint32) (*nats.Msg, error) {
	msg := &nats.Msg{Subject: c.partSubject, Header: nats.Header{}}
	r, err := c.log.sequence(ctx, c.of.Stream, c.of.partSequence(i))
	switch {
	case err == nil && c.of.ownsPart(r):
		msg.Header, msg.Data = ownHeaders(r.header), r.data
	case err != nil && !errors.Is(err, errNotFound):
		return nil, fmt.Errorf("reading part %d: %w", i+1, err)
	case !c.lenient:
		return nil, fmt.Errorf("%w: part %d is missing", ErrDamaged, i+1)
	default:
		msg.Header.Set(DeadMissingHeader, "true")
	}
	return msg, nil
}

// ask sends a member of a batch and waits for the answer.
func (b *batch) ask(ctx context.Context, msg *nats.Msg) answer {
	b.size++
	msg.Header.Set(batchIDHeader, b.id)
	msg.Header.Set(batchSequenceHeader, strconv.Itoa(b.size))
	return ask(ctx, b.nc, msg)
}

func ask(ctx context.Context, nc *nats.Conn, msg *nats.Msg) answer {
	ctx, cancel := context.WithTimeout(ctx, copyWait)
	defer cancel()
	got, err := nc.RequestMsgWithContext(ctx, msg)
	if err != nil {
		return answer{lost: fmt.Errorf("no answer from the log: %w", err)}
	}
	return parse(got)
}
