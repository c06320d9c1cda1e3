package publish

import (
	"errors"
	"testing"
	"time"
)

// FuzzCommitter: any order of events, each chosen by two bytes. The promises are checked by world: no 250 without an
// acknowledgement of the very bytes, nobody is told "not in it" who may be in it, every mail is answered once, the bytes
// held are those that are counted.
func FuzzCommitter(f *testing.F) {
	f.Add([]byte{0, 1, 0, 2, 3, 0, 4, 0, 5, 0})
	f.Add([]byte{0, 9, 0, 250, 0, 251, 2, 0, 3, 0, 8, 3, 4, 0, 6, 0, 7, 0, 8, 4, 5, 1})
	f.Add([]byte{0, 1, 0, 2, 0, 3, 9, 0, 2, 0, 10, 0, 8, 2, 3, 1, 8, 5, 3, 0, 4, 0, 3, 1, 4, 1})
	f.Add([]byte{0, 1, 0, 2, 2, 0, 3, 0, 11, 2, 4, 0, 8, 2, 2, 0, 3, 0, 4, 0, 1, 0, 8, 6})
	f.Add([]byte{0, 1, 2, 0, 3, 0, 8, 5, 3, 1, 4, 1, 12, 0, 3, 2, 4, 2})
	f.Fuzz(func(t *testing.T, events []byte) {
		if len(events) > 600 {
			return
		}
		w := newWorld(t)
		for i := 0; i+1 < len(events); i += 2 {
			w.event(events[i], int(events[i+1]))
		}
		w.end()
	})
}

var refusals = []*refusal{
	{Code: 503, ErrCode: codeStoreFailed, Description: "maximum bytes exceeded"},
	{Code: 429, ErrCode: codeTooManyRequests, Description: "too many requests"},
	{Code: 400, ErrCode: codeHeaderSize, Description: "header size exceeds maximum allowed of 64k"},
	{Code: 409, ErrCode: codeDuplicateInProcess, Description: "duplicate message id is in process"},
}

var waits = []time.Duration{100 * time.Microsecond, time.Millisecond, 50 * time.Millisecond, time.Second, 5 * time.Second, 20 * time.Second, patience}

// event is one of everything that can happen; n chooses of what.
func (w *world) event(kind byte, n int) {
	switch kind % 13 {
	case 0, 1:
		size := n * 40
		if n > 247 {
			size = 200_000 * (n - 247)
		}
		w.add(size)
	case 2:
		w.with(n, func(s *shipment) { w.handed(s, nil) })
	case 3:
		w.with(n, func(s *shipment) { w.decide(s, nil) })
	case 4, 5:
		w.with(n, w.reply)
	case 6:
		w.with(n, func(s *shipment) { w.decide(s, refusals[n/16%len(refusals)]) })
	case 7:
		w.with(n, func(s *shipment) { w.handed(s, errors.New("the connection does not take it")) })
	case 8:
		w.pass(waits[n%len(waits)])
	case 9:
		w.link(false)
	case 10:
		w.link(true)
	case 11:
		if len(w.mails) > 0 {
			w.leave(w.mails[n%len(w.mails)])
		}
	case 12:
		if n == 0 {
			w.c.stop()
			w.settle()
		}
		w.c.tick(w.now)
		w.settle()
	}
}

func (w *world) with(n int, fn func(*shipment)) {
	if len(w.transit) > 0 {
		fn(w.transit[n%len(w.transit)])
	}
}
