package smtpd

import (
	"context"

	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// Sink is where accepted mail goes.
//
// Errors that are (or wrap) an smtp.Reply are sent to the client as they are; any other error becomes 451 4.3.0, so
// that a fault of ours is never permanent.
type Sink interface {
	// Ready says whether a mail could be taken now. It is called at MAIL, so that a full log costs the sender
	// one command and not one message.
	Ready() error
	// Begin opens a delivery, at DATA or at the first BDAT. env has everything but id, received_at, size,
	// sha256, flags, parts and requires. The sink owns env from then on.
	Begin(env *mailv1.Envelope) (Delivery, error)
}

// Delivery is one mail on its way into a Sink. It ends in exactly one call of Commit or Abort.
type Delivery interface {
	// Write takes the next bytes of the mail; p is valid only during the call.
	Write(p []byte) error
	// Commit makes the mail durable and returns its id, or an error. flags is a set of mailv1.Flag bits.
	Commit(ctx context.Context, flags uint64) (id string, err error)
	// Abort drops the mail.
	Abort()
}

// Recipients decides about one RCPT.
type Recipients interface {
	// Resolve returns the normalised mailbox a mail to local@domain is filed under. local is without quotes and
	// backslashes; domain is empty for `RCPT TO:<postmaster>` (RFC 5321 section 4.5.1), an address literal with
	// its brackets, or a name that may be in Unicode when smtputf8 is set.
	Resolve(local, domain string, smtputf8 bool) (mailbox string, err error)
}
