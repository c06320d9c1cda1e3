package smtp

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// transaction is what a session knows between an accepted MAIL and the end of the mail. It exists only then.
type transaction struct {
	env     *mailv1.Envelope
	envSize int // bytes of env when encoded, so far
	asked   Rcpt

	rcpts        int  // RCPT commands answered
	overMax      int  // recipients refused because there were too many
	repeated     int  // recipients that were there already
	noRcpts      int  // DATA and chunks refused because there is no recipient
	open         bool // the driver has a delivery open
	chunked      bool // BDAT has begun
	chunkRefused bool // a chunk was refused: so are all that follow it, to LAST or RSET (RFC 3030 section 2)

	scan      scanner
	hops      hopCounter
	size      int64
	discarded int64 // bytes of chunks that were thrown away
	declared  bool  // 8-bit data was announced
	failed    Reply // what went wrong on our side in the middle of the mail
}

// The envelope travels in a header of the log, base64 coded, and the log takes 64 KiB of headers.
const (
	maxEnvelope = 48 << 10 / 4 * 3
	// envelopeReserve is room for the fields that come later: id, received_at, size, sha256, flags, parts,
	// requires.
	envelopeReserve = 160
)

// begin opens a transaction at MAIL.
func (s *Session) begin(from string, p mailParams) *transaction {
	env := &mailv1.Envelope{
		Ingress:  s.cfg.Hostname,
		Client:   endpoint(s.peer.Client),
		Proxy:    endpoint(s.peer.Proxy),
		Helo:     s.helo,
		Protocol: s.protocol(p.utf8),
		MailFrom: from,
		Body:     p.body,
		Smtputf8: p.utf8,
		Session:  s.peer.Session,
	}
	if t := s.peer.TLS; t != nil {
		env.Tls = &mailv1.TLS{Version: t.Version, Cipher: t.Cipher, Sni: t.SNI}
	}
	t := &transaction{
		env:      env,
		envSize:  proto.Size(env) + envelopeReserve,
		declared: p.utf8 || p.body == mailv1.BodyType_BODY_TYPE_8BITMIME,
	}
	if t.declared {
		t.scan.flags = uint64(mailv1.Flag_FLAG_8BIT_UNDECLARED) // spares looking for 8-bit bytes
	}
	return t
}

// protocol is the "with" of the Received header (RFC 3848, RFC 6531 section 4.3).
func (s *Session) protocol(utf8 bool) string {
	name := "SMTP"
	switch {
	case utf8:
		name = "UTF8SMTP"
	case s.esmtp:
		name = "ESMTP"
	default:
		return name
	}
	if s.peer.TLS != nil {
		name += "S"
	}
	return name
}

// rcptSize is what one more recipient adds to the encoded envelope.
func rcptSize(r *mailv1.Recipient) int {
	const recipients = 10
	return protowire.SizeTag(recipients) + protowire.SizeBytes(proto.Size(r))
}

// has reports whether mailbox is among the recipients.
func (t *transaction) has(mailbox string) bool {
	for _, r := range t.env.GetRecipients() {
		if r.GetMailbox() == mailbox {
			return true
		}
	}
	return false
}

// fail keeps the first fault on the server's side until the end of the mail.
func (t *transaction) fail(r Reply) {
	if t.failed.Code == 0 {
		t.failed = r
	}
}

// mailFlags is the set of mailv1.Flag bits for the envelope.
func (t *transaction) mailFlags() uint64 {
	flags := t.scan.flags
	if t.declared {
		flags &^= uint64(mailv1.Flag_FLAG_8BIT_UNDECLARED)
	}
	if t.chunked {
		flags |= uint64(mailv1.Flag_FLAG_BDAT)
	}
	return flags
}
