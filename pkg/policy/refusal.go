package policy

import (
	"strconv"

	"github.com/sluice-mail/sluice/pkg/smtp"
)

// Refusal is why a recipient is not accepted, in the terms of SMTP.
type Refusal struct {
	Code     int    // reply code
	Enhanced string // enhanced status code (RFC 3463)
	Text     string // of the reply, without codes
	Reason   string // one of a fixed set of words, for logs and metrics
}

// Error is the reply as it would be sent.
func (r *Refusal) Error() string { return strconv.Itoa(r.Code) + " " + r.Enhanced + " " + r.Text }

// What Resolve answers; each is a *Refusal.
var (
	// ErrRelay: the domain is not ours, or the address is a trick to reach one that is not.
	ErrRelay error = &Refusal{550, "5.7.1", smtp.RelayingDenied, "relay"}
	// ErrUnknown: the domain is ours, the recipient is not.
	ErrUnknown error = &Refusal{550, "5.1.1", "No such mailbox here", "unknown_recipient"}
	// ErrUnavailable: it cannot be known now, because the bucket could not be read yet.
	ErrUnavailable error = &Refusal{450, "4.3.0", "Recipients cannot be checked at the moment, try again later", "policy_unavailable"}
	// ErrAddress: not an address at all.
	ErrAddress error = &Refusal{501, "5.1.3", "Bad recipient address", "bad_recipient"}
	// ErrUTF8: a non-ASCII address without SMTPUTF8 (RFC 6531 section 3.5).
	ErrUTF8 error = &Refusal{553, "5.6.7", "A non-ASCII address needs SMTPUTF8", "needs_smtputf8"}
)
