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
	// MaxErrors are the protocol errors [10], MaxRefusedRcpts the refused recipients [100] since the last delivery that
	// end a connection; MaxJunk is how many commands that move no mail are no errors [50].
	MaxErrors, MaxJunk, MaxRefusedRcpts int
	// RejectText is a further line of every reply of a session that says no: whom to ask.
	RejectText string
	// BareLF says what becomes of a line feed without carriage return.
	BareLF smtp.BareLFMode

	// MaxConns bounds all connections together [10000].
	MaxConns int
	// MaxConnsPerIP and MaxConnsPerNet bound those of one address [50] and of one /24 or /64 [200].
	// A negative value switches the limit off.
	MaxConnsPerIP, MaxConnsPerNet int
	// ConnRate bounds new connections of one IPv4 address or /64 per minute [0: no limit].
	ConnRate int
	// LimitExempt are networks the per-address limits and ConnRate do not count.
	LimitExempt []netip.Prefix

	// ProxyProtocol applies to every listener; TrustedProxies are the networks it is believed from.
	ProxyProtocol  ProxyMode
	TrustedProxies []netip.Prefix
	// XClientFrom are the networks that may use XCLIENT.
	XClientFrom []netip.Prefix

	// TLSCert and TLSKey are PEM files, TLSDir is a directory of pairs for clients that ask for a name (see certs.Config);
	// all are read again when they change. Empty means no TLS.
	TLSCert, TLSKey, TLSDir string
	// TLSMinVersion is the oldest TLS version that is accepted [1.2].
	TLSMinVersion uint16
	// TLSHandshakes bounds handshakes at the same time [twice the cores]: they are what costs CPU.
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
	// DataGrace, DataRate and DataBlock are the slowest sender: a body has DataGrace to begin with, each of its bytes
	// buys the time it may take at DataRate bytes per second, and never is there more than DataBlock to wait for
	// the next one [30 s, 500, 60 s]. The three minutes of RFC 5321 section 4.5.3.2.5 are how long a client waits.
	DataGrace time.Duration
	DataRate  int64
	DataBlock time.Duration
	// DataTotal is the longest a body may take altogether [60 min].
	DataTotal time.Duration
	// Write is how long the client may refuse to read our replies [60 s].
	Write time.Duration
	// Handshake is for TLS [30 s], ProxyHeader for the PROXY header [5 s].
	Handshake, ProxyHeader time.Duration
	// Commit is how long a sink may take before the client is told 451 [90 s].
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
		return fmt.Errorf("%d recipients per mail are too few: RFC 5321 section 4.5.3.1.8 wants at least 100", c.MaxRcpts)
	case c.ProxyProtocol == ProxyRequire && len(c.TrustedProxies) == 0:
		return errors.New("PROXY protocol is required but no network is trusted to speak it: every connection would be refused")
	}
	return c.certs().Validate()
}

func (c Config) certs() certs.Config {
	return certs.Config{Cert: c.TLSCert, Key: c.TLSKey, Dir: c.TLSDir, Hostname: c.Hostname}
}

func (c Config) limits() limits.Config {
	return limits.Config{Conns: c.MaxConns, PerIP: c.MaxConnsPerIP, PerNet: c.MaxConnsPerNet, Rate: c.ConnRate, Exempt: c.LimitExempt}
}
