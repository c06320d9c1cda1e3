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
	// Ready says whether a mail could be accepted now. It is called at MAIL, so that while the log is full a sender
	// is refused before it transfers the mail.
	Ready() error
	// Begin opens a delivery, at DATA or at the first BDAT. The envelope of tx has everything but id, received_at,
	// size, sha256, flags, parts and requires. From then on it belongs to the sink.
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

// Policy decides who may send, and to whom. Its errors are treated like those of a Sink. ctx ends with the server. The
// client waits for the answer, so it must come from memory.
type Policy interface {
	// Mail is asked at MAIL: may this client send mail from this sender?
	Mail(ctx context.Context, tx *Transaction) error
	// Rcpt returns the normalised mailbox in which a mail to r is stored. r.Domain is empty for `RCPT TO:<postmaster>`
	// (RFC 5321 section 4.5.1), or an address literal with its brackets, or a domain name, which may be in Unicode when
	// r.UTF8 is set.
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

// Drop ends the transfer of the mail early; the client gets err. A sink calls it to free the mail's memory or disk. It may be called
// from any goroutine, also while a Commit is under way.
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
