package ingress

import (
	"context"
	"errors"

	"github.com/sluice-mail/sluice/pkg/policy"
	"github.com/sluice-mail/sluice/pkg/smtp"
	"github.com/sluice-mail/sluice/pkg/smtpd"
)

// recipients turns the decisions of the policy into SMTP replies.
type recipients struct{ policy *policy.Policy }

// Mail implements smtpd.Policy.
func (r recipients) Mail(_ context.Context, tx *smtpd.Transaction) error {
	return refusal(r.policy.DeniesSender(clientOf(tx)))
}

// Rcpt implements smtpd.Policy. A denied client does not learn which mailboxes exist.
func (r recipients) Rcpt(_ context.Context, tx *smtpd.Transaction, to smtp.Rcpt) (string, error) {
	mailbox, err := r.policy.Resolve(to.Local, to.Domain, to.UTF8)
	if denied := r.policy.Denies(clientOf(tx), mailbox); denied != nil {
		err = denied
	}
	if err != nil {
		return "", refusal(err)
	}
	return mailbox, nil
}

func clientOf(tx *smtpd.Transaction) policy.Client {
	return policy.Client{Addr: tx.Peer.Client.Addr(), Helo: tx.Envelope.GetHelo(), From: tx.Envelope.GetMailFrom()}
}

// refusal is what the policy says as a reply.
func refusal(err error) error {
	if r, ok := errors.AsType[*policy.Refusal](err); ok {
		return &smtp.Reply{Code: r.Code, Enhanced: r.Enhanced, Text: r.Text, Reason: r.Reason}
	}
	return err
}
