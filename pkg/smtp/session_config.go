package smtp

import "net/netip"

// BareLFMode says what happens to a mail with line feeds that have no carriage return before them.
type BareLFMode uint8

const (
	// BareLFAccept stores such a mail as sent and flags it. (A mail with a line feed next to a dot at the start of a line,
	// or with a bare carriage return, is refused in DATA in either mode.)
	BareLFAccept BareLFMode = iota
	// BareLFReject answers 550 after the end of the mail.
	BareLFReject
)

// SessionConfig is what all sessions of a server share. It is read-only once a session uses it.
type SessionConfig struct {
	// Hostname is the server's name in the greeting, in EHLO and in the envelope.
	Hostname string
	// MaxMessageBytes is the largest mail in bytes, advertised by SIZE.
	MaxMessageBytes int64
	// MaxRcpts is how many different recipients one mail may have (RFC 5321 requires 100 or more).
	MaxRcpts int
	// MaxMails is how many mails one connection may deliver; 0 is no limit.
	MaxMails int
	// MaxErrors is the number of protocol errors since the last accepted mail that ends a connection.
	MaxErrors int
	// MaxJunk is the number of commands without a mail (NOOP, RSET, VRFY, HELP, HELO) that are allowed before the next
	// accepted mail; each further one counts as an error.
	MaxJunk int
	// MaxRejectedRcpts is the number of refused recipients since the last accepted mail that ends a connection.
	MaxRejectedRcpts int
	// BareLF is the line-ending mode.
	BareLF BareLFMode
	// StartTLS offers STARTTLS on connections that are not encrypted yet.
	StartTLS bool
	// RejectText, when set, is added as a line to every 4xx and 5xx reply, for example whom to ask.
	RejectText string
	// Observer, when set, is called for every command and reply.
	Observer Observer

	ehlo *Reply // the answer to EHLO for most clients; nil: it is made for each
}

// Prepared returns c with the reply that all sessions share, so that it is made only once.
func (c SessionConfig) Prepared() SessionConfig {
	c.ehlo = nil
	r := ehloReply(&c, &Peer{})
	c.ehlo = &r
	return c
}

// Observer watches a dialogue, for logs and metrics. It never sees a byte of a mail.
type Observer interface {
	// Command is a command line without its CRLF, as received; it is only valid during the call.
	Command(s *Session, line []byte)
	// Replied is the reply to a verb. The verb is empty for replies without a command (greeting, 421), "?" for a line that is
	// not a command, and "." for the end of DATA. The session is still in the state in which the command was read.
	Replied(s *Session, verb string, reply Reply)
}

// Peer is who is at the other end.
type Peer struct {
	// Client is the SMTP client, behind the load balancer when there is one.
	Client netip.AddrPort
	// Proxy is the load balancer that spoke PROXY protocol; zero when there is none.
	Proxy netip.AddrPort
	// Session is the id of this connection, for logs and the envelope.
	Session string
	// XClient allows the XCLIENT command to this peer.
	XClient bool
	// TLS is set when the connection is encrypted from the start.
	TLS *TLSInfo
}

// TLSInfo describes the encryption of a connection.
type TLSInfo struct {
	Version string // TLS1.2 or TLS1.3
	Cipher  string // IANA name
	SNI     string // server name the client asked for
}
