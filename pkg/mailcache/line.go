package mailcache

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

// line is a connection to a server for requests that are answered by one line (set, delete). Many of them are sent in one write, and
// their answers are read in one read. With two system calls and two context switches per request, these would be half the cost
// of caching a mail.
//
// gomemcache writes a request and then waits for its answer, so a line keeps the request and lets gomemcache read at once what the
// server says when all is well. What the server really says is read later, by exchange.
//
//	gomemcache: Write, Write, Read ─▶ kept ─┐
//	gomemcache: Write, Read ────────▶ kept ─┼─▶ exchange: one write, one read ─▶ answers 1, 2, 3
//	gomemcache: Write, Read ────────▶ kept ─┘
type line struct {
	server *server
	dial   DialFunc
	client *memcache.Client // writes its requests here

	requests []byte
	asked    []int    // whose requests they are
	assumed  string   // what gomemcache reads
	answers  []error  // to the requests of an exchange; nil: it is done
	conn     net.Conn // nil when there is none
	reader   *bufio.Reader
}

// errAnswer ends a connection: nobody knows any more which answer belongs to which request.
var errAnswer = errors.New("the cache server sent an unexpected answer")

func newLine(s *server, dial DialFunc) *line {
	l := &line{server: s, dial: dial, client: memcache.NewFromSelector(servers{s})}
	l.client.DialContext = func(context.Context, string, string) (net.Conn, error) { return l, nil }
	return l
}

// exchange sends the requests that were kept and returns the answers, one for each. After an error, later answers cannot be assigned
// to their requests. So the connection is closed, and the rest gets the same error.
func (l *line) exchange(until time.Time) []error {
	kept := l.conn != nil
	err := l.try(until)
	if kept && err != nil && len(l.answers) == 0 && !errors.Is(err, errAnswer) && !errors.Is(err, os.ErrDeadlineExceeded) {
		// The server has closed the connection since it was last used, for example by a restart. To set or to delete
		// something twice does no harm.
		err = l.try(until)
	}
	for len(l.answers) < len(l.asked) {
		l.answers = append(l.answers, err)
	}
	return l.answers
}

func (l *line) try(until time.Time) error {
	l.answers = l.answers[:0]
	err := l.open(until)
	if err == nil {
		_, err = l.conn.Write(l.requests)
	}
	for range l.asked {
		if err != nil {
			break
		}
		var text []byte
		if text, err = l.reader.ReadSlice('\n'); err == nil {
			var answer error
			if answer, err = meaning(text); err == nil {
				l.answers = append(l.answers, answer)
			}
		}
	}
	if err != nil {
		l.hangUp()
	}
	return err
}

// meaning is what gomemcache would make of an answer. The error is that it is not the answer to a request of this kind.
func meaning(text []byte) (answer, err error) {
	switch string(text) {
	case stored, deleted:
		return nil, nil
	case "NOT_FOUND\r\n":
		return memcache.ErrCacheMiss, nil
	case "NOT_STORED\r\n":
		return memcache.ErrNotStored, nil
	case "EXISTS\r\n":
		return memcache.ErrCASConflict, nil
	}
	if bytes.HasPrefix(text, []byte("SERVER_ERROR ")) {
		return fmt.Errorf("the cache server answers %q", text), nil
	}
	return nil, errAnswer
}

// The answers when all is well.
const (
	stored  = "STORED\r\n"
	deleted = "DELETED\r\n"
)

// open makes sure that there is a connection, and gives it until then.
func (l *line) open(until time.Time) error {
	if l.conn == nil {
		ctx, cancel := context.WithDeadline(context.Background(), until)
		defer cancel()
		conn, err := l.dial(ctx, l.server.Network(), l.server.String())
		if err != nil {
			return err
		}
		l.conn, l.reader = conn, bufio.NewReader(conn)
	}
	return l.conn.SetDeadline(until)
}

func (l *line) hangUp() {
	if l.conn != nil {
		_ = l.conn.Close() // it is of no use any more, whatever this says
		l.conn, l.reader = nil, nil
	}
}

// forget drops the requests, and a buffer that has grown too large to be kept.
func (l *line) forget() {
	if l.requests = l.requests[:0]; cap(l.requests) > keptRoom {
		l.requests = nil
	}
	l.asked = l.asked[:0]
}

// What follows makes a line the net.Conn that gomemcache uses.

func (l *line) Write(p []byte) (int, error) {
	l.requests = append(l.requests, p...)
	return len(p), nil
}

func (l *line) Read(p []byte) (int, error) { return copy(p, l.assumed), nil }

// Close does nothing: gomemcache closes what it could not use, and a line ends with its sender.
func (l *line) Close() error                     { return nil }
func (l *line) SetDeadline(time.Time) error      { return nil }
func (l *line) SetReadDeadline(time.Time) error  { return nil }
func (l *line) SetWriteDeadline(time.Time) error { return nil }

// LocalAddr implements net.Conn. Nobody asks.
func (l *line) LocalAddr() net.Addr { return l.server }

// RemoteAddr implements net.Conn.
func (l *line) RemoteAddr() net.Addr { return l.server }
