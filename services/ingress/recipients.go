package ingress

import (
	"context"
	"errors"

	"github.com/sluice-mail/sluice/pkg/policy"
	"github.com/sluice-mail/sluice/pkg/smtp"
	"github.com/sluice-mail/sluice/pkg/smtpd"
)

// recipients turns what the policy says into SMTP replies.
type recipients struct{ policy *policy.Policy }

// Mail implements smtpd.Policy.
func (r recipients) Mail(context.Context, *smtpd.Transaction) error { return nil }

// Rcpt implements smtpd.Policy.
func (r recipients) Rcpt(_ context.Context, _ *smtpd.Transaction, to smtp.Rcpt) (string, error) {
	mailbox, err := r.policy.Resolve(to.Local, to.Domain, to.UTF8)
	if refusal, ok := errors.AsType[*policy.Refusal](err); ok {
		return "", &smtp.Reply{Code: refusal.Code, Enhanced: refusal.Enhanced, Text: refusal.Text, Reason: refusal.Reason}
	}
	return mailbox, err
}
