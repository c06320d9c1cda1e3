package mailcache

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"sync"
	"time"
)

// line is one connection to a server that many callers share; each of them sees a connection of its own (a call). Concurrent
// requests are sent to the server in one write, and their answers are read in one read. With two system calls and two context
// switches per request, these would be half the cost of caching a mail.
//
// It is for requests that are answered by one line (set, delete). gomemcache writes a request and then reads its answer,
// so the first read shows that the request is complete.
//
//	call: Write, Write, Read ─┐                    ┌─▶ answer 1
//	call: Write, Read ────────┼─▶ one write, read ─┼─▶ answer 2
//	call: Write, Read ────────┘   by one of them   └─▶ answer 3
type line struct {
	dial DialFunc

	mu      sync.Mutex
	calls   int     // not closed yet; the last one closes the connection
	waiting []*call // with a request, for the next exchange
	led     bool    // one of the calls is at the connection

	// For the call that leads.
	conn    net.Conn // nil when there is none
	answers *bufio.Reader
	bufs    net.Buffers
}

// groupBytes bounds an exchange, so that it stays short next to the timeout.
const groupBytes = 256 << 10

// errAnswer ends a connection: nobody knows any more which answer belongs to which request.
var errAnswer = errors.New("the cache server sent an unexpected answer")

// connect makes a call. Nothing is dialled before there is a request.
func (l *line) connect(network, addr string) net.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	return &call{line: l, network: network, addr: addr, turn: make(chan bool, 1)}
}

// ask returns when the request of c has its answer, or its error. Whoever finds nobody at the connection leads: he takes
// along all who wait, and then makes the first of those who have come meanwhile the next leader.
func (l *line) ask(c *call) {
	l.mu.Lock()
	l.waiting = append(l.waiting, c)
	lead := !l.led
	l.led = true
	l.mu.Unlock()
	if !lead && !<-c.turn {
		return
	}
	runtime.Gosched() // so that other goroutines can add their requests to this exchange
	group := l.take()
	l.exchange(group)
	l.mu.Lock()
	if len(l.waiting) > 0 {
		l.waiting[0].turn <- true
	} else {
		l.led = false
	}
	l.mu.Unlock()
	for _, other := range group[1:] { // the first is c
		other.turn <- false
	}
}

// take returns the requests for one exchange, one at least.
func (l *line) take() []*call {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, bytes := 1, len(l.waiting[0].request)
	for ; n < len(l.waiting) && bytes < groupBytes; n++ {
		bytes += len(l.waiting[n].request)
	}
	group := l.waiting[:n:n]
	l.waiting = append(make([]*call, 0, writers), l.waiting[n:]...)
	return group
}

// exchange sends the requests and reads their answers. After an error, later answers cannot be assigned to their requests. So the
// connection is closed, and the rest of the group gets the same error.
func (l *line) exchange(group []*call) {
	err := l.open(group)
	if err == nil {
		bufs := l.bufs[:0]
		for _, c := range group {
			bufs = append(bufs, c.request)
		}
		l.bufs = bufs
		_, err = bufs.WriteTo(l.conn)
	}
	for _, c := range group {
		var text []byte
		if err == nil {
			text, err = l.answers.ReadSlice('\n')
		}
		if c.err = err; err != nil {
			continue
		}
		c.text = append(c.text[:0], text...)
		if !isAnswer(text) {
			err = errAnswer
		}
	}
	if err != nil {
		l.hangUp()
	}
}

// open makes sure that there is a connection, and gives it until the first of the group has run out of time.
func (l *line) open(group []*call) error {
	until := group[0].until
	for _, c := range group[1:] {
		if c.until.Before(until) {
			until = c.until
		}
	}
	if l.conn == nil {
		ctx, cancel := context.WithDeadline(context.Background(), until)
		defer cancel()
		conn, err := l.dial(ctx, group[0].network, group[0].addr)
		if err != nil {
			return err
		}
		l.conn, l.answers = conn, bufio.NewReader(conn)
	}
	return l.conn.SetDeadline(until)
}

func (l *line) hangUp() {
	if l.conn != nil {
		_ = l.conn.Close() // it is of no use any more, whatever this says
		l.conn, l.answers = nil, nil
	}
}

// isAnswer says whether a line is all that the server has to say to one request.
func isAnswer(text []byte) bool {
	for _, known := range [...]string{"STORED\r\n", "DELETED\r\n", "NOT_FOUND\r\n", "NOT_STORED\r\n", "EXISTS\r\n"} {
		if string(text) == known {
			return true
		}
	}
	return bytes.HasPrefix(text, []byte("SERVER_ERROR "))
}

// call is a net.Conn that is a share of a line. Its user writes a request, reads the answer, and begins anew.
type call struct {
	line          *line
	network, addr string
	until         time.Time
	closed        bool

	request []byte
	turn    chan bool // true: lead; false: there is an answer, or an error
	text    []byte    // what is left to read of the answer
	err     error
}

// keptRequest is the longest buffer that is kept for the next request.
const keptRequest = 64 << 10

func (c *call) Write(p []byte) (int, error) {
	c.request = append(c.request, p...)
	return len(p), nil
}

func (c *call) Read(p []byte) (int, error) {
	if len(c.text) == 0 {
		if len(c.request) == 0 {
			return 0, os.ErrDeadlineExceeded // nothing was asked: nothing will come
		}
		c.line.ask(c)
		if c.request = c.request[:0]; cap(c.request) > keptRequest {
			c.request = nil
		}
		if c.err != nil {
			return 0, c.err
		}
	}
	n := copy(p, c.text)
	c.text = c.text[n:]
	return n, nil
}

func (c *call) Close() error {
	l := c.line
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed = true
	if l.calls--; l.calls == 0 {
		l.hangUp() // nobody leads: that would be one of the calls
	}
	return nil
}

func (c *call) SetDeadline(t time.Time) error      { c.until = t; return nil }
func (c *call) SetReadDeadline(t time.Time) error  { return c.SetDeadline(t) }
func (c *call) SetWriteDeadline(t time.Time) error { return c.SetDeadline(t) }

// LocalAddr implements net.Conn. Nobody asks.
func (c *call) LocalAddr() net.Addr { return &server{name: c.addr} }

// RemoteAddr implements net.Conn.
func (c *call) RemoteAddr() net.Addr { return &server{name: c.addr} }
