package smtpd

import (
	"context"
	"sync/atomic"

	"github.com/sluice-mail/sluice/pkg/smtp"
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
	// Begin opens a delivery, at DATA or at the first BDAT. The envelope of tx has everything but id, received_at,
	// size, sha256, flags, parts and requires. It is the sink's from then on.
	Begin(tx *Transaction) (Delivery, error)
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

// Policy decides who may send, and to whom. Its errors are treated like those of a Sink. ctx ends with the server; an
// answer is waited for by the client, so it must come from memory.
type Policy interface {
	// Mail is asked at MAIL: may this client send mail from this sender?
	Mail(ctx context.Context, tx *Transaction) error
	// Rcpt returns the normalised mailbox a mail to r is filed under. r.Domain is empty for `RCPT TO:<postmaster>`
	// (RFC 5321 section 4.5.1), an address literal with its brackets, or a name that may be in Unicode when r.UTF8
	// is set.
	Rcpt(ctx context.Context, tx *Transaction, r smtp.Rcpt) (mailbox string, err error)
}

// Transaction is one mail from MAIL to its end, and who sends it.
type Transaction struct {
	// Peer is the client, its load balancer, the encryption.
	Peer smtp.Peer
	// Envelope has the sender, the HELO name and the recipients so far.
	Envelope *mailv1.Envelope

	lost atomic.Pointer[error]
	wake func()
}

// Drop ends the mail before its end has come; the client hears err. It is for a sink that needs the room a mail takes
// more than the mail, and may be called from any goroutine. A Commit may be under way already.
func (tx *Transaction) Drop(err error) {
	tx.lost.Store(&err)
	if tx.wake != nil {
		tx.wake()
	}
}

// dropped is what Drop was called with, once.
func (tx *Transaction) dropped() error {
	if tx == nil {
		return nil
	}
	if err := tx.lost.Swap(nil); err != nil {
		return *err
	}
	return nil
}
