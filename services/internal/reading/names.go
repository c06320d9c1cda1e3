package reading

import (
	"fmt"
	"strings"

	"github.com/sluice-mail/sluice/pkg/policy"
)

// Naming is what the ingress does to an address to find its mailbox. A reader who types the address wants the same.
type Naming struct {
	Primary   string `envconfig:"INGRESS_PRIMARY_DOMAIN" desc:"the same as the ingress's: mail to any domain is in the mailbox at this domain, and a name without a domain gets this one"`
	Delimiter string `envconfig:"INGRESS_RECIPIENT_DELIMITER" desc:"the same as the ingress's: with +, ann+x is the mailbox ann"`
}

// Names finds the mailbox for what a reader types.
type Names struct {
	policy  *policy.Policy
	primary string
}

// Names checks the configuration.
func (n Naming) Names() (Names, error) {
	p, err := policy.New(policy.Config{Domains: []string{"*"}, PrimaryDomain: n.Primary, Delimiters: n.Delimiter})
	if err != nil {
		return Names{}, fmt.Errorf("how mailboxes are named: %w", err)
	}
	return Names{policy: p, primary: n.Primary}, nil
}

// Mailbox returns the one form of an address. A name without a domain is one of the primary domain, if there is one.
// The error is policy.ErrAddress, or another *policy.Refusal.
func (n Names) Mailbox(address string) (string, error) {
	local, domain := address, n.primary
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		local, domain = address[:at], address[at+1:]
	}
	if local == "" || domain == "" {
		return "", policy.ErrAddress
	}
	return n.policy.Resolve(local, domain, true)
}
