package record

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/stream/internal/wait"
)

// Walk reads the messages of a stream in order, without their payloads and without leaving a trace.
type Walk struct {
	JS       jetstream.JetStream
	Stream   string // its name
	Subject  string // only messages on it; empty: all
	From, To uint64 // sequences, both included
}

// Walked is one message of a walk; Size is what it takes up in the stream's files.
type Walked struct {
	Record
	Size uint64
}

// ErrStop ends a walk early, without an error.
var ErrStop = errors.New("walk ended by its user")

const (
	// WalkBatch messages are fetched at a time.
	WalkBatch   = 500
	walkRetries = 5
	// walkBytes of headers are fetched at a time: those of a pack are large, and what waits to be read is all in memory.
	walkBytes = 1 << 20
	// WalkIdle is when the server forgets the consumer of a walk that died.
	WalkIdle = time.Minute
)

// Each calls fn for every message from from to to that is there when it is reached.
func (w Walk) Each(ctx context.Context, fn func(Walked) error) error {
	next := max(w.From, 1)
	for failed := 0; next <= w.To; {
		was := next
		err := w.stretch(ctx, &next, fn)
		var mine userError
		if err == nil {
			var ended bool
			if ended, err = w.ended(ctx, next); ended {
				return nil
			}
		}
		switch {
		case errors.As(err, &mine):
			if errors.Is(mine.error, ErrStop) {
				return nil
			}
			return mine.error
		case next > was:
			failed = 0
		}
		if failed++; failed > walkRetries || ctx.Err() != nil {
			return fmt.Errorf("reading %s from sequence %d: %w", w.Stream, next, err)
		}
		wait.For(ctx, 100*time.Millisecond<<failed)
	}
	return nil
}

// ended asks the leader whether the walk missed nothing at its end: the replica it read from may lag.
func (w Walk) ended(ctx context.Context, next uint64) (bool, error) {
	if next > w.To {
		return true, nil
	}
	subject := w.Subject
	if subject == "" {
		subject = ">"
	}
	r, err := Source{w.JS.Conn()}.Next(ctx, w.Stream, subject, next)
	if errors.Is(err, ErrNotFound) || (err == nil && r.Sequence > w.To) {
		return true, nil
	}
	if err == nil {
		err = fmt.Errorf("the replica that was read does not have sequence %d yet", r.Sequence)
	}
	return false, err
}

// userError is fn's, as opposed to the log's.
type userError struct{ error }

// stretch reads with one consumer until the end (nil) or until something is lost; next is moved along. The
// consumer acknowledges nothing, so what the connection loses would be passed over silently: its consumer
// sequences, which have no gaps, prove that nothing was.
func (w Walk) stretch(ctx context.Context, next *uint64, fn func(Walked) error) error {
	consumer, err := w.JS.CreateConsumer(ctx, w.Stream, jetstream.ConsumerConfig{
		FilterSubject: w.Subject, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: *next,
		AckPolicy: jetstream.AckNonePolicy, HeadersOnly: true, MemoryStorage: true, Replicas: 1, InactiveThreshold: WalkIdle,
	})
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = w.JS.DeleteConsumer(ctx, w.Stream, consumer.CachedInfo().Name) // else the server does after WalkIdle
	}()
	if consumer.CachedInfo().NumPending == 0 {
		return nil
	}
	size := 0 // of the headers of a message, roughly
	for count := uint64(0); ; {
		batch, err := consumer.FetchNoWait(min(WalkBatch, max(WalkBatch/20, walkBytes/max(size, 1))))
		if err != nil {
			return err
		}
		end, err := w.batch(batch, &count, next, func(m Walked) error {
			size = (7*size + headerBytes(m.Header)) / 8
			return fn(m)
		})
		if err != nil || end {
			return err
		}
		if err := batch.Error(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func headerBytes(h nats.Header) (n int) {
	for _, values := range h {
		for _, v := range values {
			n += len(v)
		}
	}
	return n
}

// batch hands on what one fetch brought; end says that nothing is left.
func (w Walk) batch(batch jetstream.MessageBatch, count, next *uint64, fn func(Walked) error) (end bool, err error) {
	got := 0
	for msg := range batch.Messages() {
		if err != nil || end {
			continue // the channel must be drained, or its sender stays indefinitely
		}
		got++
		meta, merr := msg.Metadata()
		switch {
		case merr != nil:
			err = merr
			continue
		case meta.Sequence.Consumer != *count+1:
			err = fmt.Errorf("the connection lost messages")
			continue
		case meta.Sequence.Stream > w.To:
			end = true
			continue
		}
		*count++
		if ferr := fn(newWalked(msg, meta)); ferr != nil {
			err = userError{ferr}
			continue
		}
		*next = meta.Sequence.Stream + 1
		end = meta.NumPending == 0 || *next > w.To
	}
	if got == 0 && err == nil && batch.Error() == nil {
		return false, errors.New("the log sent nothing although it has more")
	}
	return end, err
}

func newWalked(msg jetstream.Msg, meta *jetstream.MsgMetadata) Walked {
	header := msg.Headers()
	var payload, headers uint64
	for name, values := range header {
		if name == nats.MsgSize {
			continue
		}
		for _, v := range values {
			headers += uint64(len(name) + len(v) + 4)
		}
	}
	_, _ = fmt.Sscan(header.Get(nats.MsgSize), &payload)
	return Walked{
		Record: Record{
			Stream: meta.Stream, Subject: msg.Subject(), Sequence: meta.Sequence.Stream, Time: meta.Timestamp, Header: header,
		},
		// What the file store writes: record header and hash 34, "NATS/1.0\r\n\r\n" 12.
		Size: 34 + 12 + uint64(len(msg.Subject())) + headers + payload,
	}
}
