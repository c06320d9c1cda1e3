package smtpd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/sluice-mail/sluice/pkg/smtp"
	"github.com/sluice-mail/sluice/pkg/smtpd/refusals"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// logAccepted writes the one line of an accepted mail.
func (c *conn) logAccepted(env *mailv1.Envelope, id string, took time.Duration) {
	if !c.srv.logger.Enabled(context.Background(), slog.LevelInfo) {
		return
	}
	attrs := append(c.mailAttrs(env), slog.String("msg_id", id), slog.Int64("size", c.size), slog.Bool("tls", c.tls != nil), slog.Int64("dur_ms", took.Milliseconds()))
	c.srv.logger.LogAttrs(context.Background(), slog.LevelInfo, "mail accepted", attrs...)
}

// logFailed writes why a complete mail was not taken: the sender keeps it, we must find out.
func (c *conn) logFailed(env *mailv1.Envelope, err error) {
	attrs := append(c.mailAttrs(env), slog.Int64("size", c.size), slog.Any("error", err))
	c.srv.logger.LogAttrs(context.Background(), slog.LevelWarn, "mail not accepted", attrs...)
}

func (c *conn) mailAttrs(env *mailv1.Envelope) []slog.Attr {
	p := c.sess.Peer()
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs, slog.String("session_id", p.Session))
	attrs = append(attrs, refusals.Client(p.Client.Addr(), c.srv.cfg.LogPII)...)
	if env == nil {
		return attrs
	}
	attrs = append(attrs, slog.String("helo", env.GetHelo()), slog.String("from", c.srv.loggable(env.GetMailFrom())))
	if r := env.GetRecipients(); len(r) > 0 {
		attrs = append(attrs, slog.String("rcpt", c.srv.loggable(r[0].GetMailbox())), slog.Int("rcpts", len(r)))
	}
	return attrs
}

// logEnd logs the end of a session. The level is info, except for sessions that need no such line: those that delivered mail and
// ended with QUIT, and those refused by a limit, because these have lines already; and connections without any command (health
// checks, port scans).
func (c *conn) logEnd(reason error) {
	level := slog.LevelInfo
	if c.role != roleClient || c.sess.Commands() == 0 && isGone(reason) || c.mails > 0 && c.endReason(reason) == "quit" {
		level = slog.LevelDebug
	}
	if !c.srv.logger.Enabled(context.Background(), level) {
		return
	}
	client, id := addrPort(c.nc.RemoteAddr()).Addr(), ""
	if c.sess != nil {
		client, id = c.sess.Peer().Client.Addr(), c.sess.Peer().Session
	}
	attrs := append(make([]slog.Attr, 0, 8), slog.String("session_id", id))
	attrs = append(attrs, refusals.Client(client, c.srv.cfg.LogPII)...)
	attrs = append(attrs, slog.Int("mails", c.mails), slog.Bool("tls", c.tls != nil), slog.String("reason", c.endReason(reason)),
		slog.Int64("dur_ms", (c.now()-c.opened).Milliseconds()))
	c.srv.logger.LogAttrs(context.Background(), level, "session ended", attrs...)
}

// endReason is what the last reply was for, when that reply ended the session, and else what happened.
func (c *conn) endReason(reason error) string {
	switch {
	case c.sess != nil && c.sess.Closed():
		return cmp.Or(c.sess.LastReason(), "closed")
	case isGone(reason):
		return "client_left"
	case reason != nil:
		return reason.Error()
	}
	return "closed"
}

// isGone says that the client closed the connection.
func isGone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// note makes a refusal visible that no reply of the session says.
func (c *conn) note(stage, reason string, peer smtp.Peer, err error) {
	c.srv.refused.Note(refusals.Refusal{Stage: stage, Reason: reason, Client: peer.Client.Addr(), Session: peer.Session, Err: err}, time.Now())
}

// noteProxy makes a connection visible that was closed for its PROXY header. One that sent nothing only looked whether
// somebody listens.
func (c *conn) noteProxy(err error) {
	reason := "proxy_malformed"
	switch {
	case errors.Is(err, errProxyUntrusted):
		reason = "proxy_untrusted"
	case errors.Is(err, os.ErrDeadlineExceeded):
		reason = "proxy_timeout"
	case isGone(err) && len(c.pending()) == 0, errors.Is(err, net.ErrClosed):
		return
	}
	c.note("proxy", reason, smtp.Peer{Client: addrPort(c.nc.RemoteAddr())}, err)
}

// loggable is an address as it may appear in the log: its domain, unless LogPII.
func (s *Server) loggable(address string) string {
	if s.cfg.LogPII {
		return address
	}
	return refusals.Domain(address)
}

// panicked reports a programming error; only this session ends.
func (c *conn) panicked(r any) error {
	c.srv.metrics.panics.Inc()
	err := fmt.Errorf("panic: %v", r)
	c.srv.logger.Error("SMTP session ended by a programming error", "session_id", c.sessionID(), "error", err, "stack", string(debug.Stack()))
	return err
}

func (c *conn) sessionID() string {
	if c.sess == nil {
		return ""
	}
	return c.sess.Peer().Session
}
