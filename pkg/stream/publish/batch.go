package publish

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// The wire of an atomic batch (NATS ADR-50): members carry the batch's id and their number from 1; the last
// one asks for the commit. The server stages them and stores all or none, with consecutive sequences; the
// acknowledgement of the last names the batch, the number of members and the last sequence.
const (
	batchIDHeader       = "Nats-Batch-Id"
	batchSequenceHeader = "Nats-Batch-Sequence"
	batchCommitHeader   = "Nats-Batch-Commit"

	// stagedAhead parts may be on their way at once; each is acknowledged when it is staged. The stream's ingest queue
	// (128 MiB on an unconfigured server) is shared by all ingresses, and what overruns it is lost.
	stagedAhead = 4
	// commitWaits is how many times longer to wait for the commit than for a part, because the server writes the whole mail once
	// more before it answers.
	commitWaits = 4
)

// batch publishes one large mail, its parts and then its head, once: all of it is stored, or none.
type batch struct {
	nc      *nats.Conn
	replies *replies
	wait    time.Duration   // for one answer
	lost    <-chan struct{} // closed when the connection is lost; may be nil
	// beforeCommit, when set, is called when everything but the head is staged or on its way.
	beforeCommit func()
}

// send publishes the batch; without parts the head is an ordinary message. The only error is that a part cannot be read
// on this side.
func (b batch) send(ctx context.Context, head *nats.Msg, parts iter.Seq2[*nats.Msg, error]) (answer, error) {
	t := b.replies.open(stagedAhead + 1)
	defer t.close()
	id, n := nuid.Next(), 0
	put := func(msg *nats.Msg) error {
		n++
		msg.Header.Set(batchIDHeader, id)
		msg.Header.Set(batchSequenceHeader, strconv.Itoa(n))
		msg.Reply = t.subject(n)
		return b.nc.PublishMsg(msg)
	}
	for msg, err := range parts {
		if err != nil {
			return answer{}, err
		}
		if n >= stagedAhead {
			if i, a := t.await(ctx, b.lost, b.wait); i < 0 || a.Error != nil || a.lost != nil {
				return a, nil
			}
		}
		if err := put(msg); err != nil {
			return answer{lost: fmt.Errorf("%w: %w", errDisconnected, err)}, nil
		}
	}
	if b.beforeCommit != nil {
		b.beforeCommit()
	}
	if n == 0 {
		head.Reply = t.subject(1)
		if err := b.nc.PublishMsg(head); err != nil {
			return answer{lost: fmt.Errorf("%w: %w", errDisconnected, err)}, nil
		}
		_, a := t.await(ctx, b.lost, b.wait)
		return a, nil
	}
	head.Header.Set(batchCommitHeader, "1")
	if err := put(head); err != nil {
		return answer{lost: fmt.Errorf("%w: %w", errDisconnected, err)}, nil
	}
	return b.awaitCommit(ctx, t, id, n), nil
}

// awaitCommit skips the remaining acknowledgements of parts.
func (b batch) awaitCommit(ctx context.Context, t ticket, id string, n int) answer {
	for {
		i, a := t.await(ctx, b.lost, commitWaits*b.wait)
		switch {
		case i < 0 || a.lost != nil || a.Error != nil:
			return a
		case i < n:
			continue
		case a.Duplicate:
			return a
		case a.Batch != id || a.Count != n || a.Sequence < uint64(n):
			// Its parts are found by counting back from the head: what does not add up must not be a 250.
			return answer{lost: fmt.Errorf("%w: it confirms %d messages of batch %q up to %d, not %d of %q", errStrange, a.Count, a.Batch, a.Sequence, n, id)}
		}
		return a
	}
}

// await returns the next answer of a ticket, with number -1 when there will be none.
func (t ticket) await(ctx context.Context, lost <-chan struct{}, wait time.Duration) (int, answer) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case r := <-t.answers:
		return r.number, r.answer
	case <-lost:
		return -1, answer{lost: errDisconnected}
	case <-timer.C:
		return -1, answer{lost: errTimeout}
	case <-ctx.Done():
		return -1, answer{lost: ctx.Err()}
	}
}
