package smtpd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/sluice-mail/sluice/pkg/smtp"
)

// tlsWire is the net.Conn under crypto/tls. After the handshake it never blocks: like a plaintext connection, it waits for
// ciphertext in socket.wait, on a small stack and without a buffer. Only then crypto/tls is called, which gets
// errWouldBlock at the end of the ciphertext.
type tlsWire struct {
	net.Conn // for the addresses and Close
	c        *conn
	// handshaking makes Read block until deadline.
	handshaking bool
	deadline    time.Duration
	slot        bool // this handshake holds one of server.handshakes
}

// Read gives crypto/tls the next ciphertext.
func (w *tlsWire) Read(p []byte) (int, error) {
	s := &w.c.socket
	for s.buf == nil {
		if !w.handshaking {
			return 0, errWouldBlock
		}
		w.releaseSlot() // waiting for the network costs no CPU
		if err := w.waitHandshake(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.pending())
	s.consume(n)
	return n, nil
}

// waitHandshake waits for ciphertext. Being woken by a shutdown does not end a handshake: its error would be
// final for crypto/tls.
func (w *tlsWire) waitHandshake() error {
	s := &w.c.socket
	for {
		now := s.now()
		if now >= w.deadline {
			return os.ErrDeadlineExceeded
		}
		if err := s.arm(now, w.deadline); err != nil {
			return err
		}
		if err := s.wait(); !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
}

// Write sends ciphertext.
func (w *tlsWire) Write(p []byte) (int, error) {
	return w.c.socket.write(p, w.c.srv.cfg.Timeouts.Write)
}

// SetDeadline, SetReadDeadline and SetWriteDeadline do nothing: the deadlines belong to socket.
func (w *tlsWire) SetDeadline(time.Time) error      { return nil }
func (w *tlsWire) SetReadDeadline(time.Time) error  { return nil }
func (w *tlsWire) SetWriteDeadline(time.Time) error { return nil }

// takeSlot waits for one of the handshakes that may use the CPU at the same time. It is called when the
// ClientHello has been read and the expensive part, key agreement and signature, begins.
func (w *tlsWire) takeSlot() error {
	w.c.srv.handshakeQueue.Add(1)
	defer w.c.srv.handshakeQueue.Add(-1)
	timer := time.NewTimer(w.deadline - w.c.socket.now())
	defer timer.Stop()
	select {
	case w.c.srv.handshakes <- struct{}{}:
		w.slot = true
		return nil
	case <-timer.C:
		return errors.New("no CPU for a TLS handshake in time")
	case <-w.c.srv.base.Done():
		return net.ErrClosed
	}
}

func (w *tlsWire) releaseSlot() {
	if w.slot {
		w.slot = false
		<-w.c.srv.handshakes
	}
}

// startTLS does the handshake. It runs in a goroutine of its own because it needs a deep stack, which would
// stay with the connection. An error is final: there is no way back to plaintext.
func (c *conn) startTLS(peer smtp.Peer) error {
	wire := &tlsWire{Conn: c.socket.nc, c: c, handshaking: true, deadline: c.socket.now() + c.srv.cfg.Timeouts.Handshake}
	t := tls.Server(wire, c.srv.tls)
	done := make(chan error, 1)
	go func() {
		defer wire.releaseSlot()
		defer func() {
			if r := recover(); r != nil {
				done <- c.panicked(r)
			}
		}()
		done <- t.Handshake()
	}()
	if err := <-done; err != nil {
		c.srv.metrics.handshakes.WithLabelValues("failed").Inc()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.srv.metrics.timeouts.WithLabelValues("tls").Inc()
		}
		if !isGone(err) { // or it only looked whether somebody listens
			c.note("tls", "tls_failed", peer, err)
		}
		return fmt.Errorf("TLS handshake: %w", err)
	}
	wire.handshaking = false
	c.srv.metrics.handshakes.WithLabelValues("ok").Inc()
	c.tls = t
	c.srv.metrics.tlsVersions.WithLabelValues(c.tlsInfo().Version).Inc()
	return nil
}

// tlsInfo describes the finished handshake for the envelope.
func (c *conn) tlsInfo() smtp.TLSInfo {
	st := c.tls.ConnectionState()
	version := "TLS1.2"
	if st.Version == tls.VersionTLS13 {
		version = "TLS1.3"
	}
	return smtp.TLSInfo{Version: version, Cipher: tls.CipherSuiteName(st.CipherSuite), SNI: st.ServerName}
}

// decrypt moves what the pending ciphertext holds into c.plain: errWouldBlock when that is no whole record.
func (c *conn) decrypt() error {
	c.plain.take()
	var err error
	for c.plain.w < readSize && err == nil {
		var n int
		n, err = c.tls.Read(c.plain.buf[c.plain.w:])
		c.plain.w += n
	}
	if c.plain.w == 0 {
		c.plain.release()
		return err
	}
	// An error other than errWouldBlock is sticky in crypto/tls and comes back with the next call.
	return nil
}
