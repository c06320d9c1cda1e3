package smtpd

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/sluice-mail/sluice/pkg/smtp"
	"github.com/sluice-mail/sluice/pkg/smtpd/certs"
	"github.com/sluice-mail/sluice/pkg/smtpd/limits"
)

// ProxyMode says whether clients reach us through a load balancer that speaks the PROXY protocol. SMTP
// servers speak first, so it cannot be guessed: a listener has it or not.
type ProxyMode int

const (
	// ProxyOff takes every byte for SMTP.
	ProxyOff ProxyMode = iota
	// ProxyRequire wants a PROXY v1 or v2 header, from TrustedProxies only; anything else is closed.
	ProxyRequire
)

// ListenerKind says how connections of one listener start.
type ListenerKind int

const (
	// ListenerPlain starts in plaintext and offers STARTTLS when there is a certificate.
	ListenerPlain ListenerKind = iota
	// ListenerTLS starts with the TLS handshake (implicit TLS, RFC 8314).
	ListenerTLS
)

// Config is what one Server needs to know. Zero values of numbers and durations mean the default in brackets.
type Config struct {
	// Hostname is our name in the banner, in replies and in Received. Required.
	Hostname string
	// MaxMessageBytes is the advertised and enforced SIZE [25 MiB].
	MaxMessageBytes int64
	// MaxRcpts is the number of recipients per mail [100]; RFC 5321 section 4.5.3.1.8 forbids fewer.
	MaxRcpts int
	// MaxMails is the number of mails per connection [0: no limit].
	MaxMails int
	// A connection ends after MaxErrors protocol errors [10] or MaxRefusedRcpts refused recipients [100] since the last
	// accepted mail. MaxJunk commands without a mail (NOOP, RSET, …) are allowed [50]; each further one counts as an error.
	MaxErrors, MaxJunk, MaxRefusedRcpts int
	// RejectText is a line that is added to every refusal, for example whom to ask; empty adds none.
	RejectText string
	// BareLF says whether a mail with a line feed without carriage return is accepted.
	BareLF smtp.BareLFMode

	// MaxConns bounds all connections together [10000].
	MaxConns int
	// MaxConnsPerIP and MaxConnsPerNet bound those of one address [50] and of one /24 or /64 [200].
	// A negative value switches the limit off.
	MaxConnsPerIP, MaxConnsPerNet int
	// ConnRate bounds new connections of one IPv4 address or /64 per minute [0: no limit].
	ConnRate int
	// LimitExempt are networks that are exempt from the limits per address and from ConnRate.
	LimitExempt []netip.Prefix

	// ProxyProtocol applies to every listener.
	ProxyProtocol ProxyMode
	// TrustedProxies are the networks from which a PROXY header is accepted.
	TrustedProxies []netip.Prefix
	// XClientFrom are the networks that may use XCLIENT.
	XClientFrom []netip.Prefix

	// TLSCert and TLSKey are PEM files. TLSDir is a directory of certificates for clients that ask for a name (see
	// certs.Config). All are read again when they change. Without any of them there is no TLS.
	TLSCert, TLSKey, TLSDir string
	// TLSMinVersion is the oldest TLS version that is accepted [1.2].
	TLSMinVersion uint16
	// TLSHandshakes bounds concurrent TLS handshakes, because they need much CPU [twice the cores].
	TLSHandshakes int

	// Timeouts are the deadlines; see their type.
	Timeouts Timeouts
	// LogPII lets whole addresses into the log instead of their domains.
	LogPII bool
}

// Timeouts are how long a session waits. Zero values mean the default in brackets.
type Timeouts struct {
	// Idle is the wait for one whole command [300 s, RFC 5321 section 4.5.3.2.7].
	Idle time.Duration
	// IdleOverload replaces Idle while nine tenths of MaxConns are in use [10 s].
	IdleOverload time.Duration
	// IdleAfterTLS replaces Idle after a mail over TLS, until the next MAIL [20 s]: crypto/tls keeps its buffers.
	IdleAfterTLS time.Duration
	// DataGrace, DataRate and DataBlock define the slowest sender that is accepted. The mail of a sender that is on average slower
	// than DataRate, in bytes per second [500], is ended once it is more than DataGrace [30 s] behind. No wait for the next
	// byte may be longer than DataBlock [60 s]. (The three minutes of RFC 5321 section 4.5.3.2.5 are a timeout of clients.)
	DataGrace time.Duration
	DataRate  int64         // bytes per second
	DataBlock time.Duration // longest wait for one more byte
	// DataTotal is the longest time for the data of one mail [60 min].
	DataTotal time.Duration
	// Write is how long the client may take to read a reply [60 s].
	Write time.Duration
	// Handshake is the longest time for a TLS handshake [30 s], ProxyHeader for the PROXY header [5 s].
	Handshake, ProxyHeader time.Duration
	// Commit is how long a sink may take to commit before the client gets 451 [90 s].
	Commit time.Duration
}

func (c Config) withDefaults() Config {
	c.MaxMessageBytes = cmp.Or(c.MaxMessageBytes, 25<<20)
	c.MaxRcpts = cmp.Or(c.MaxRcpts, 100)
	c.MaxConns = cmp.Or(c.MaxConns, 10000)
	c.MaxConnsPerIP = cmp.Or(c.MaxConnsPerIP, 50)
	c.MaxConnsPerNet = cmp.Or(c.MaxConnsPerNet, 200)
	c.MaxErrors = cmp.Or(c.MaxErrors, 10)
	c.MaxJunk = cmp.Or(c.MaxJunk, 50)
	c.MaxRefusedRcpts = cmp.Or(c.MaxRefusedRcpts, 100)
	t := &c.Timeouts
	t.Idle = cmp.Or(t.Idle, 300*time.Second)
	t.IdleOverload = min(t.Idle, cmp.Or(t.IdleOverload, 10*time.Second))
	t.IdleAfterTLS = min(t.Idle, cmp.Or(t.IdleAfterTLS, 20*time.Second))
	t.DataBlock = cmp.Or(t.DataBlock, 60*time.Second)
	t.DataGrace = cmp.Or(t.DataGrace, 30*time.Second)
	t.DataRate = cmp.Or(t.DataRate, 500)
	t.DataTotal = cmp.Or(t.DataTotal, time.Hour)
	t.Write = cmp.Or(t.Write, 60*time.Second)
	t.Handshake = cmp.Or(t.Handshake, 30*time.Second)
	t.ProxyHeader = cmp.Or(t.ProxyHeader, 5*time.Second)
	t.Commit = cmp.Or(t.Commit, 90*time.Second)
	return c
}

func (c Config) validate() error {
	switch {
	case c.Hostname == "":
		return errors.New("the SMTP server needs a host name")
	case c.MaxRcpts < 100:
		return fmt.Errorf("%d recipients per mail are too few: RFC 5321 section 4.5.3.1.8 requires at least 100", c.MaxRcpts)
	case c.ProxyProtocol == ProxyRequire && len(c.TrustedProxies) == 0:
		return errors.New("PROXY protocol is required but no network is trusted to send it: every connection would be refused")
	}
	return c.certs().Validate()
}

func (c Config) certs() certs.Config {
	return certs.Config{Cert: c.TLSCert, Key: c.TLSKey, Dir: c.TLSDir, Hostname: c.Hostname}
}

func (c Config) limits() limits.Config {
	return limits.Config{Conns: c.MaxConns, PerIP: c.MaxConnsPerIP, PerNet: c.MaxConnsPerNet, Rate: c.ConnRate, Exempt: c.LimitExempt}
}
