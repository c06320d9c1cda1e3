package ingress

import (
	"errors"

	"github.com/sluice-mail/sluice/pkg/policy"
	"github.com/sluice-mail/sluice/pkg/smtp"
)

// recipients turns what the policy says into SMTP replies.
type recipients struct{ policy *policy.Policy }

// Resolve implements smtpd.Recipients.
func (r recipients) Resolve(local, domain string, smtputf8 bool) (string, error) {
	mailbox, err := r.policy.Resolve(local, domain, smtputf8)
	if refusal, ok := errors.AsType[*policy.Refusal](err); ok {
		return "", &smtp.Reply{Code: refusal.Code, Enhanced: refusal.Enhanced, Text: refusal.Text}
	}
	return mailbox, err
}
