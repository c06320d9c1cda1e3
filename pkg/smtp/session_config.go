package smtp

import "net/netip"

// BareLFMode says what happens to a mail with line feeds that have no carriage return before them.
type BareLFMode uint8

const (
	// BareLFAccept stores such a mail as sent and flags it. (A line feed beside a dot at the start of a line,
	// or a bare carriage return, is refused in DATA all the same.)
	BareLFAccept BareLFMode = iota
	// BareLFReject answers 550 after the end of the mail.
	BareLFReject
)

// SessionConfig is what all sessions of a server share. It is read-only once a session uses it.
type SessionConfig struct {
	// Hostname is our name in the greeting, in EHLO and in the envelope.
	Hostname string
	// MaxMessageBytes is the largest mail, advertised by SIZE.
	MaxMessageBytes int64
	// MaxRcpts is how many different recipients one mail may have (RFC 5321 wants 100 or more).
	MaxRcpts int
	// MaxMails is how many mails a connection may bring; 0 is no limit.
	MaxMails int
	// MaxErrors is how many protocol errors end a connection.
	MaxErrors int
	// MaxJunk is how many commands that move no mail (NOOP, RSET, VRFY, HELP, HELO) may pass without a stored
	// mail before each further one counts as an error.
	MaxJunk int
	// MaxRejectedRcpts is how many refused recipients end a connection.
	MaxRejectedRcpts int
	// BareLF is the line-ending mode.
	BareLF BareLFMode
	// StartTLS offers STARTTLS on connections that are not encrypted yet.
	StartTLS bool
	// RejectText, when set, is a line of its own in every 4xx and 5xx reply: whom to ask.
	RejectText string
	// Observer, when set, is told of every command and reply.
	Observer Observer

	ehlo *Reply // what most clients hear; nil: made for each
}

// Prepared is c with what the replies of all sessions have in common made once.
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
	// Replied is the reply to a verb; the verb is empty for replies nobody asked for (greeting, 421), "?" for what is no command, and
	// "." for the end of a DATA. The session is still as it was when the command was read.
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
