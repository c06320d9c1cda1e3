package smtpd

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"time"

	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// logAccepted writes the one line of an accepted mail.
func (c *conn) logAccepted(env *mailv1.Envelope, id string, took time.Duration) {
	if !c.srv.logger.Enabled(context.Background(), slog.LevelInfo) {
		return
	}
	attrs := append(c.mailAttrs(env), slog.String("msg_id", id), slog.Int64("size", c.size), slog.Int64("dur_ms", took.Milliseconds()))
	c.srv.logger.LogAttrs(context.Background(), slog.LevelInfo, "mail accepted", attrs...)
}

// logFailed writes why a complete mail was not taken: the sender keeps it, we must find out.
func (c *conn) logFailed(env *mailv1.Envelope, err error) {
	attrs := append(c.mailAttrs(env), slog.Int64("size", c.size), slog.Any("error", err))
	c.srv.logger.LogAttrs(context.Background(), slog.LevelWarn, "mail not accepted", attrs...)
}

func (c *conn) mailAttrs(env *mailv1.Envelope) []slog.Attr {
	p := c.sess.Peer()
	attrs := make([]slog.Attr, 0, 10)
	attrs = append(attrs, slog.String("session_id", p.Session), slog.String("remote_ip", p.Client.Addr().String()))
	if env == nil {
		return attrs
	}
	attrs = append(attrs, slog.String("helo", env.GetHelo()), slog.String("from", c.srv.loggable(env.GetMailFrom())))
	if r := env.GetRecipients(); len(r) > 0 {
		attrs = append(attrs, slog.String("rcpt", c.srv.loggable(r[0].GetMailbox())), slog.Int("rcpts", len(r)))
	}
	return attrs
}

// logEnd writes the one line of a session. Connections that only looked (health checks, port scans) are not
// worth a line at the usual level.
func (c *conn) logEnd(reason error) {
	level := slog.LevelInfo
	if c.role != roleClient || c.sess == nil || (c.mails == 0 && errors.Is(reason, io.EOF)) {
		level = slog.LevelDebug
	}
	if !c.srv.logger.Enabled(context.Background(), level) {
		return
	}
	remote, id := c.nc.RemoteAddr().String(), ""
	if c.sess != nil {
		remote, id = c.sess.Peer().Client.Addr().String(), c.sess.Peer().Session
	}
	text := "closed"
	if reason != nil && reason != errOver {
		text = reason.Error()
	}
	c.srv.logger.LogAttrs(context.Background(), level, "session ended",
		slog.String("session_id", id), slog.String("remote_ip", remote), slog.Int("mails", c.mails),
		slog.Bool("tls", c.tls != nil), slog.String("reason", text), slog.Int64("dur_ms", (c.now()-c.opened).Milliseconds()))
}

// loggable is an address as it may appear in the log: its domain, unless LogPII.
func (s *Server) loggable(address string) string {
	if s.cfg.LogPII {
		return address
	}
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		return address[at:]
	}
	return ""
}
