package smtpd

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// readSize is what one read takes at most. A buffer of this size belongs to a connection only while there are
// bytes in it: see socket.
const readSize = 32 << 10

type readBuffer [readSize]byte

// input is what a client has sent: buf[r:w] is received and not consumed yet. It holds a buffer only while there is
// something in it.
type input struct {
	pool *sync.Pool // of *readBuffer
	buf  *readBuffer
	r, w int
}

// pending is what can be consumed; valid until the next consume.
func (in *input) pending() []byte {
	if in.buf == nil {
		return nil
	}
	return in.buf[in.r:in.w]
}

// consume drops n bytes, and the buffer with the last one.
func (in *input) consume(n int) {
	if in.r += n; in.r == in.w {
		in.release()
	}
}

func (in *input) take() {
	if in.buf == nil {
		in.buf = in.pool.Get().(*readBuffer)
	}
}

func (in *input) release() {
	if in.buf != nil {
		in.pool.Put(in.buf)
	}
	in.buf, in.r, in.w = nil, 0, 0
}

// errWouldBlock is "nothing there yet". It says Temporary so that crypto/tls does not remember it: a record
// that is half here is continued by the next Read.
var errWouldBlock net.Error = wouldBlock{}

type wouldBlock struct{}

func (wouldBlock) Error() string   { return "no data available yet" }
func (wouldBlock) Timeout() bool   { return false }
func (wouldBlock) Temporary() bool { return true }

// socket is the byte side of a connection. Waiting for a client must be cheap, because that is what nearly all
// connections do nearly all the time: the wait happens inside RawConn.Read, and only when read(2) has bytes is
// a buffer taken from the pool.
type socket struct {
	input
	nc  net.Conn
	raw syscall.RawConn
	try func(fd uintptr) bool

	// In and out parameters of tryRead: it is one bound method, as a closure per read would be garbage.
	nowait bool
	err    error
	// full says that the last read filled its buffer, so that more is probably waiting in the kernel.
	full bool
	// empty says that the last read has left nothing in the kernel, not even the end of the connection. It cannot see a
	// reset: a write does.
	empty bool

	epoch      time.Time     // what the deadlines below count from
	readArmed  time.Duration // read deadline set on nc; 0 is none
	writeArmed time.Duration
}

func (s *socket) open(nc net.Conn, pool *sync.Pool, epoch time.Time) error {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return errors.New("connection is not a socket")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	s.nc, s.raw, s.epoch = nc, raw, epoch
	s.pool = pool
	s.try = s.tryRead
	askUnread(raw)
	return nil
}

// now is the time since epoch: one word and one cheap clock, where time.Time has three and two.
func (s *socket) now() time.Duration { return time.Since(s.epoch) }

// arm makes waits end at deadline, or earlier: if an earlier deadline is already set, it stays, because setting
// one costs as much as a small read. A wait that ends early checks the clock and waits again.
func (s *socket) arm(now, deadline time.Duration) error {
	if s.readArmed > now && s.readArmed <= deadline {
		return nil
	}
	s.readArmed = deadline
	return s.nc.SetReadDeadline(s.epoch.Add(deadline))
}

// wait blocks until there are pending bytes, the armed deadline, or an error (io.EOF at the end).
func (s *socket) wait() error {
	s.nowait = false
	return s.read()
}

// poll is wait that does not block: errWouldBlock when the kernel has nothing.
func (s *socket) poll() error {
	s.nowait = true
	err := s.read()
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	// The deadline of an earlier wait ran out while the connection was busy. It says nothing about this read.
	now := s.now()
	if err := s.arm(now, now+time.Second); err != nil {
		return err
	}
	if err = s.read(); errors.Is(err, os.ErrDeadlineExceeded) {
		return errWouldBlock // woken by a shutdown just now; the next wait will see to that
	}
	return err
}

func (s *socket) read() error {
	if err := s.raw.Read(s.try); err != nil {
		s.readArmed = 0 // the deadline has passed or the socket is closed
		return err
	}
	return s.err
}

// tryRead is the callback of RawConn.Read; false means "wait".
func (s *socket) tryRead(fd uintptr) bool {
	s.err = s.receive(fd)
	return s.err != errWouldBlock || s.nowait
}

// receive reads what the kernel has into the pending bytes. It needs no buffer yet, or one with room at its end.
func (s *socket) receive(fd uintptr) error {
	s.take()
	n, empty, err := read(int(fd), s.buf[s.w:])
	for err == syscall.EINTR {
		n, empty, err = read(int(fd), s.buf[s.w:])
	}
	s.empty = empty
	if n > 0 {
		s.w += n
		s.full = s.w == readSize && !empty
		return nil
	}
	if s.w == 0 {
		s.release()
	}
	s.full = false
	switch err {
	case nil:
		return io.EOF
	case syscall.EAGAIN:
		return errWouldBlock
	}
	return err
}

// write sends p. The client has between three quarters of timeout and timeout to take it.
func (s *socket) write(p []byte, timeout time.Duration) (int, error) {
	if now := s.now(); s.writeArmed-now < timeout*3/4 {
		s.writeArmed = now + timeout
		if err := s.nc.SetWriteDeadline(s.epoch.Add(s.writeArmed)); err != nil {
			return 0, err
		}
	}
	return s.nc.Write(p)
}

// kill ends the connection under its goroutine. (net.Conn.Close would wait for the end of RawConn.Read, that is,
// for the sink.) It is for other goroutines, like wake.
func (s *socket) kill() {
	_ = s.raw.Control(func(fd uintptr) { _ = syscall.Shutdown(int(fd), syscall.SHUT_RDWR) }) // closed already: fine
}

// wake makes a wait end now.
func (s *socket) wake() {
	// A connection closed in the meantime needs no waking.
	_ = s.nc.SetReadDeadline(time.Unix(1, 0))
}
