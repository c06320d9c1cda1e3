package smtpd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/sluice-mail/sluice/pkg/smtp"
	"github.com/sluice-mail/sluice/pkg/smtpd/limits"
)

const (
	// lingerTime and lingerBytes bound how long a closed connection still reads, so that the client sees the
	// last reply and not a reset (RFC 9293 section 3.6.1: closing with unread input resets).
	lingerTime  = time.Second
	lingerBytes = 1 << 20
)

// begin is everything before the first command: PROXY header, limits, implicit TLS, greeting.
func (c *conn) begin() error {
	c.phase = phaseActive
	peer := smtp.Peer{Client: addrPort(c.nc.RemoteAddr())}
	if c.srv.cfg.ProxyProtocol == ProxyRequire {
		if err := c.readProxy(&peer); err != nil {
			c.srv.metrics.connections.WithLabelValues("proxy_refused").Inc()
			c.noteProxy(err)
			return err
		}
	}
	peer.Session = c.srv.sessionID()
	peer.XClient = limits.InAny(c.srv.cfg.XClientFrom, peer.Client.Addr())
	limit := ""
	if c.role != roleCheck {
		limit = c.enterClient(peer.Client.Addr(), time.Now())
	}
	if limit != "" {
		c.role = roleRefused
	}
	if c.kind == ListenerTLS {
		if limit != "" {
			c.note("connect", limit, peer, nil)
			return errRefused // nothing can be said before a handshake, and a handshake is what costs
		}
		if err := c.startTLS(peer); err != nil {
			c.srv.metrics.connections.WithLabelValues("tls_failed").Inc()
			return err
		}
		info := c.tlsInfo()
		peer.TLS = &info
	}
	c.sess = smtp.NewSession(&c.srv.session, peer)
	c.idleSince = c.now()
	switch {
	case limit != "":
		return c.refuse(limit)
	case c.role == roleCheck:
		c.srv.metrics.connections.WithLabelValues("health_check").Inc()
	default:
		c.srv.metrics.connections.WithLabelValues("accepted").Inc()
		c.srv.metrics.active.Inc()
		c.role = roleClient
	}
	return c.greet()
}

// greet speaks first. Without a load balancer the greeting stays queued until converse has looked for input:
// the session refuses a client that spoke before it. Behind one, what came with the PROXY header may be there
// early through no fault of the client.
func (c *conn) greet() error {
	c.sess.Greet()
	if c.srv.cfg.ProxyProtocol == ProxyRequire || c.tls != nil {
		return c.flush()
	}
	c.phase = phaseGreeting
	return nil
}

// refuse says 421 for a limit.
func (c *conn) refuse(limit string) error {
	r := smtp.ReplyTooManyConns
	r.Reason = limit
	c.sess.Refuse(r)
	return errRefused
}

// enterClient counts the connection for its client and names the limit that refuses it.
func (c *conn) enterClient(client netip.Addr, now time.Time) (limit string) {
	counted, limit := c.srv.limits.EnterClient(client, now)
	c.counted = netip.Addr{}
	if counted {
		c.counted = client
	}
	if limit != "" {
		c.srv.metrics.connections.WithLabelValues("limited").Inc()
		c.srv.metrics.limits.WithLabelValues(limit).Inc()
	}
	return limit
}

// readProxy reads the PROXY header: from trusted networks only, and within its own short deadline.
func (c *conn) readProxy(peer *smtp.Peer) error {
	if !limits.InAny(c.srv.cfg.TrustedProxies, peer.Client.Addr()) {
		return errProxyUntrusted
	}
	deadline := c.now() + c.srv.cfg.Timeouts.ProxyHeader
	for {
		h, n, err := parseProxy(c.pending())
		if err == nil {
			c.consume(n)
			if h.local {
				c.role = roleCheck
			} else {
				peer.Proxy, peer.Client = peer.Client, h.source
			}
			return nil
		}
		if !errors.Is(err, errProxyShort) {
			return err
		}
		if err := c.waitUntil(deadline); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				c.srv.metrics.timeouts.WithLabelValues("proxy").Inc()
			}
			return fmt.Errorf("waiting for the PROXY header: %w", err)
		}
	}
}

// waitUntil waits for bytes before there is a session to end politely: a wake-up by Shutdown ends it.
func (c *conn) waitUntil(deadline time.Duration) error {
	for {
		now := c.now()
		if now >= deadline {
			return os.ErrDeadlineExceeded
		}
		if err := c.arm(now, deadline); err != nil {
			return err
		}
		if c.srv.draining.Load() {
			return net.ErrClosed
		}
		if err := c.wait(); !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
}

// end sends the last reply, closes the connection and releases everything it holds.
func (c *conn) end(reason error) {
	defer c.srv.forget(c)
	defer func() {
		if r := recover(); r != nil {
			_ = c.panicked(r)
		}
		_ = c.nc.Close()
	}()
	if reason == errTimeout {
		c.srv.metrics.timeouts.WithLabelValues(c.timedOutIn()).Inc()
		c.sess.Timeout()
	}
	c.abort(resultAborted)
	c.logEnd(reason)
	if c.sess != nil && (reason == errTimeout || reason == errOver || reason == errRefused) {
		if err := c.flush(); err == nil {
			c.linger()
		}
	}
	c.plain.release()
	c.release()
}

func (c *conn) timedOutIn() string {
	if c.dataSince != 0 {
		return "data"
	}
	return "command"
}

// linger closes the sending direction. If the client is still sending, it reads and discards a little of that.
func (c *conn) linger() {
	if c.tls != nil {
		_ = c.tls.CloseWrite() // best effort: the client may be gone
	}
	w, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || w.CloseWrite() != nil {
		return
	}
	unread := c.buf != nil || c.full
	c.release()
	if !unread && c.poll() != nil {
		return // nothing on its way, or gone
	}
	deadline := c.now() + lingerTime
	for read := 0; read < lingerBytes; {
		c.release()
		if c.waitUntil(deadline) != nil {
			return
		}
		read += len(c.pending())
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
