package publish

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/sluice-mail/sluice/pkg/stream"
)

// copyWait bounds one answer of the log to a copy.
const copyWait = 10 * time.Second

// Copy publishes a mail that the log already has once more under another subject, as a dead letter or as its retry; a large mail
// in one atomic batch, as the first time. By id the log recognises a second attempt. It returns the sequence of the head.
func Copy(ctx context.Context, nc *nats.Conn, id string, head *nats.Msg, parts iter.Seq2[*nats.Msg, error]) (uint64, error) {
	r, err := newReplies(nc)
	if err != nil {
		return 0, err
	}
	defer r.close()
	a, err := copyOnce(ctx, nc, r, id, head, parts)
	if err == nil && classify(a) == doubled {
		// The earlier attempt may not be synced yet. A second copy is harmless, so it is made.
		a, err = copyOnce(ctx, nc, r, id+"/"+nuid.Next(), head, parts)
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
	return 0, fmt.Errorf("publishing to %s: %w", head.Subject, a.reason())
}

func copyOnce(ctx context.Context, nc *nats.Conn, r *replies, id string, head *nats.Msg, parts iter.Seq2[*nats.Msg, error]) (answer, error) {
	msg := &nats.Msg{Subject: head.Subject, Header: maps.Clone(head.Header), Data: head.Data}
	msg.Header.Set(stream.IDHeader, id)
	b := batch{nc: nc, replies: r, wait: copyWait}
	return b.send(ctx, msg, parts)
}
