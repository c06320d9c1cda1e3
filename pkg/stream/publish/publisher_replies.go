package publish

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// replies gives each answer of the log to the flight that waits for it, over one subscription.
type replies struct {
	prefix  string
	sub     *nats.Subscription
	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan<- reply
}

// reply is the answer to the message with that index of a flight.
type reply struct {
	index int
	answer
}

func newReplies(nc *nats.Conn) (*replies, error) {
	r := &replies{prefix: nc.NewInbox() + ".", waiting: make(map[uint64]chan<- reply)}
	sub, err := nc.Subscribe(r.prefix+"*.*", r.deliver)
	if err != nil {
		return nil, fmt.Errorf("subscribing to the log's answers: %w", err)
	}
	r.sub = sub
	return r, sub.SetPendingLimits(-1, -1) // an answer is a hundred bytes, and as many come as we asked for
}

func (r *replies) close() { _ = r.sub.Unsubscribe() }

func (r *replies) deliver(msg *nats.Msg) {
	flight, index, ok := strings.Cut(strings.TrimPrefix(msg.Subject, r.prefix), ".")
	id, err1 := strconv.ParseUint(flight, 36, 64)
	i, err2 := strconv.Atoi(index)
	if !ok || err1 != nil || err2 != nil {
		return
	}
	r.mu.Lock()
	c := r.waiting[id]
	r.mu.Unlock()
	if c == nil {
		return // of an attempt that was given up
	}
	select {
	case c <- reply{i, parse(msg)}:
	default: // more answers than questions: not ours to guess
	}
}

// ticket is one flight's place in replies.
type ticket struct {
	replies *replies
	id      uint64
	answers chan reply
}

// open makes room for the answers to n messages; close it in the end.
func (r *replies) open(n int) ticket {
	c := make(chan reply, n)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next++
	r.waiting[r.next] = c
	return ticket{r, r.next, c}
}

// subject is the reply subject of the message with that index.
func (t ticket) subject(index int) string {
	return t.replies.prefix + strconv.FormatUint(t.id, 36) + "." + strconv.Itoa(index)
}

func (t ticket) close() {
	t.replies.mu.Lock()
	defer t.replies.mu.Unlock()
	delete(t.replies.waiting, t.id)
}
