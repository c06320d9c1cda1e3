package publish

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// replies passes each answer of the log to the listener that waits for it, over one subscription.
type replies struct {
	prefix    string
	sub       *nats.Subscription
	mu        sync.Mutex
	next      uint64
	listeners map[uint64]func(number int, a answer)
}

func newReplies(nc *nats.Conn) (*replies, error) {
	r := &replies{prefix: nc.NewInbox() + ".", listeners: make(map[uint64]func(int, answer))}
	sub, err := nc.Subscribe(r.prefix+"*.*", r.deliver)
	if err != nil {
		return nil, fmt.Errorf("subscribing to the log's answers: %w", err)
	}
	r.sub = sub
	return r, sub.SetPendingLimits(-1, -1) // an answer is a hundred bytes, and as many come as we asked for
}

func (r *replies) close() { _ = r.sub.Unsubscribe() }

func (r *replies) deliver(msg *nats.Msg) {
	listener, number, ok := strings.Cut(strings.TrimPrefix(msg.Subject, r.prefix), ".")
	id, err1 := strconv.ParseUint(listener, 36, 64)
	n, err2 := strconv.Atoi(number)
	if !ok || err1 != nil || err2 != nil {
		return
	}
	r.mu.Lock()
	hear := r.listeners[id]
	r.mu.Unlock()
	if hear != nil { // else the answer is for an attempt that is no longer awaited
		hear(n, parse(msg))
	}
}

// listener is one place in replies.
type listener struct {
	replies *replies
	id      uint64
}

// listen has hear called with the answer to each message published with a reply subject of this listener; close it in
// the end. hear must not block.
func (r *replies) listen(hear func(number int, a answer)) listener {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next++
	r.listeners[r.next] = hear
	return listener{r, r.next}
}

// subject is the reply subject of the message with that number.
func (l listener) subject(number int) string {
	return l.replies.prefix + strconv.FormatUint(l.id, 36) + "." + strconv.Itoa(number)
}

func (l listener) close() {
	l.replies.mu.Lock()
	defer l.replies.mu.Unlock()
	delete(l.replies.listeners, l.id)
}

// ticket is a listener whose answers are waited for.
type ticket struct {
	listener
	answers chan reply
}

type reply struct {
	number int
	answer
}

// open makes room for n answers that are not fetched yet; close it in the end.
func (r *replies) open(n int) ticket {
	c := make(chan reply, n)
	return ticket{r.listen(func(number int, a answer) {
		select {
		case c <- reply{number, a}:
		default: // more answers than questions: not ours to guess
		}
	}), c}
}
