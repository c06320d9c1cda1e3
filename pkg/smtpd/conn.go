package smtpd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/sluice-mail/sluice/pkg/smtp"
)

// flushAt is how many reply bytes are written even if there is probably more input.
const flushAt = 16 << 10

// Reasons for the end of a session. All but errFreshStack and errUpgrade are final.
var (
	errOver       = errors.New("session over")                  // the Session said so; its last reply is queued
	errTimeout    = errors.New("client was silent or too slow") // a deadline of this package
	errFreshStack = errors.New("nothing came for a while")      // time to wait on a fresh stack
	errUpgrade    = errors.New("STARTTLS")                      // time for the handshake
	errRefused    = errors.New("connection refused by a limit")
)

// conn drives one smtp.Session over one socket. All of it belongs to the goroutine of serve, except busy,
// socket.wake and socket.kill.
type conn struct {
	socket
	srv   *Server
	sess  *smtp.Session
	tls   *tls.Conn
	plain input // decrypted input, when tls is set
	kind  ListenerKind
	phase phase
	role  role

	onReadable func(fd uintptr) bool // readable, bound once: a method value per call would be garbage
	reason     error                 // why readable said it was done

	tx       *Transaction // since the last MAIL, at most until the next wait outside a transaction
	delivery Delivery
	size     int64 // bytes of the mail so far
	mails    int

	opened    time.Duration
	idleSince time.Duration // when the wait for the current command began
	dataSince time.Duration // when the current mail's bytes were asked for; 0 outside
	dataDue   time.Duration // when the mail has become too slow, unless more of it comes
	lastByte  time.Duration

	// busy is the watchdog's tick at which a call into Sink or Recipients began, 0 outside.
	busy atomic.Int64

	counted netip.Addr // the address to leave at the end, invalid when none
}

// phase is where a connection is:
//
//	new ─▶ greeting ─▶ active ⇄ resting
//	                     ⇅
//	                  upgrading
type phase uint8

const (
	phaseNew       phase = iota // nothing has been said
	phaseGreeting               // the greeting is queued; it is written when we have seen that the client waits for it
	phaseActive                 // the client said something a moment ago: the stack that took is kept
	phaseResting                // the client says nothing: the wait is on a fresh stack
	phaseUpgrading              // STARTTLS was accepted: its reply goes out, then comes the handshake
)

// role is who is at the other end, for the numbers of clients and the log.
type role uint8

const (
	roleUnknown role = iota
	roleClient       // counted in sluice_smtp_sessions_active
	roleCheck        // a load balancer's health check
	roleRefused      // a limit refused it
)

// serve runs the connection to its end. When the client has been idle for a moment, it continues in a new
// goroutine. Otherwise the stack that the last command needed would be kept while the client is idle, and it would be
// most of the memory of an idle connection.
func (c *conn) serve() {
	var err error
	defer func() {
		if r := recover(); r != nil {
			err = c.panicked(r)
		}
		if err == errFreshStack {
			go c.serve()
			return
		}
		c.end(err)
	}()
	if c.phase == phaseNew {
		if err = c.begin(); err != nil {
			return
		}
	}
	err = c.converse()
	for err == errUpgrade {
		if err = c.upgrade(); err == nil {
			err = c.converse()
		}
	}
}

// converse reads, feeds and answers until something ends it.
//
// It does so inside one call of RawConn.Read: readable is called when there may be input and returns false to
// wait for more. A call per wait would have to ask the kernel once more before each wait, because what became
// readable between two calls is not remembered; inside one call it is.
func (c *conn) converse() error {
	if c.phase != phaseResting {
		if err := c.feed(); err != nil { // what crypto/tls or the read of a PROXY header has brought already
			return err
		}
	}
	for {
		c.reason = nil
		err := c.raw.Read(c.onReadable)
		if err == nil {
			return c.reason
		}
		c.readArmed = 0
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if err := c.ranOut(); err != nil {
			return err
		}
	}
}

// readable is called by RawConn.Read. It takes what is there, feeds it, writes the replies and returns false to
// wait, or true with c.reason.
//
// It waits only when it knows that the socket is empty. The poller reports input only once, when it arrives. If a read left some
// input behind, or the end of the connection, it would be noticed only with the next byte.
func (c *conn) readable(fd uintptr) (done bool) {
	for {
		err := c.receive(fd)
		if err == nil {
			if err = c.received(); err == nil && !c.empty {
				continue
			}
		}
		if err == nil || err == errWouldBlock {
			if err = c.beforeWait(); err == nil {
				return false
			}
		}
		c.reason = err
		return true
	}
}

// received feeds the bytes of a read. While more input is probably waiting, replies are kept, so that few writes send
// them. Replies that the client must wait for are not kept, so that the session can tell whether the client did wait.
func (c *conn) received() error {
	if c.phase == phaseGreeting {
		c.srv.metrics.connections.WithLabelValues("early_talker").Inc()
	}
	c.phase = phaseActive
	if c.dataSince != 0 {
		c.lastByte = c.now()
	}
	if err := c.feed(); err != nil {
		return err
	}
	if len(c.sess.Output()) == 0 {
		c.empty = false // it may have been reset, which only a write would see
	}
	if c.dataSince != 0 && !c.empty {
		// A large mail that arrives fast never waits for input. Without this, every other connection would have to wait for
		// the end of its time slice (10 ms), and so for each such mail.
		runtime.Gosched()
	}
	if c.full && (len(c.sess.Output()) < flushAt || c.sess.AwaitsFlush()) {
		return nil
	}
	return c.flushAll()
}

// feed gives the session all input and does what it asks for.
func (c *conn) feed() error {
	for {
		if c.tls != nil {
			switch err := c.decrypt(); {
			case err == errWouldBlock:
				return nil
			case err != nil:
				return err
			}
		}
		if err := c.feedPending(); err != nil || c.tls == nil {
			return err
		}
	}
}

func (c *conn) feedPending() error {
	in := &c.input
	if c.tls != nil {
		in = &c.plain
	}
	for {
		n, ev := c.sess.Feed(in.pending())
		var err error
		if ev.Kind != smtp.EventNone {
			err = c.handle(ev)
		}
		in.consume(n) // also before the end: a QUIT that was answered is not unread
		if err != nil {
			return err
		}
		c.trackData(n)
		if ev.Kind == smtp.EventNone {
			return nil
		}
	}
}

// flushAll writes the replies; after the one to STARTTLS no plaintext is read any more.
func (c *conn) flushAll() error {
	if err := c.flush(); err != nil {
		return err
	}
	if c.phase == phaseUpgrading {
		return errUpgrade
	}
	return nil
}

// beforeWait is called when the socket is empty and all input consumed.
func (c *conn) beforeWait() error {
	if err := c.flushAll(); err != nil {
		return err
	}
	if err := c.armWait(); err != nil {
		return err
	}
	// After arming: what comes later than these looks wakes the wait.
	if !c.sess.InTransaction() {
		c.tx = nil
	}
	if err := c.tx.dropped(); err != nil {
		if c.failMail(err); c.sess.Closed() {
			return errOver
		}
	}
	if c.srv.draining.Load() && c.sess.Shutdown() {
		return errOver
	}
	return nil
}

// upgrade does the handshake after STARTTLS.
func (c *conn) upgrade() error {
	c.phase = phaseActive
	if err := c.startTLS(c.sess.Peer()); err != nil {
		return err
	}
	c.sess.TLSStarted(c.tlsInfo())
	c.idleSince = c.now()
	return nil
}

// flush writes the queued replies.
func (c *conn) flush() error {
	out := c.sess.Output()
	if len(out) == 0 {
		return nil
	}
	var err error
	if c.tls != nil {
		_, err = c.tls.Write(out)
	} else {
		_, err = c.write(out, c.srv.cfg.Timeouts.Write)
	}
	c.sess.Flushed()
	c.idleSince = c.now()
	if c.phase == phaseGreeting {
		c.phase = phaseActive
	}
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.srv.metrics.timeouts.WithLabelValues("write").Inc()
		}
		return fmt.Errorf("writing a reply: %w", err)
	}
	return nil
}
