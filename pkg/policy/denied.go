package policy

import (
	"net/netip"
	"strings"
	"time"

	"github.com/sluice-mail/sluice/pkg/policy/lists"
)

// Client is who sends a mail, and as whom.
type Client struct {
	Addr netip.Addr // its address; invalid when unknown
	Helo string     // the name it gave
	From string     // empty for the sender of bounces
}

// DeniesSender says at MAIL whether the lists deny a client or its sender: a *Refusal, or nil. While there is a recipient
// that is always allowed, nobody can say so before he is known; then Denies says it.
func (p *Policy) DeniesSender(c Client) error {
	if live := p.live.Load(); live == nil || live.lists.Count(true, lists.Recipient) > 0 {
		return nil
	}
	return p.Denies(c, "")
}

// Denies says whether the lists deny a mail to mailbox: a *Refusal, or nil. Before the bucket has been read nobody is
// denied.
func (p *Policy) Denies(c Client, mailbox string) error {
	live := p.live.Load()
	if live == nil || live.lists.Empty() {
		return nil
	}
	m := lists.Mail{Client: c.Addr, Recipient: mailbox}
	if live.lists.Has(lists.Helo) {
		m.Helo = strings.ToLower(c.Helo)
	}
	if live.lists.Has(lists.Sender) || live.lists.Has(lists.Domain) {
		m.Sender = foldSender(c.From)
		if at := strings.LastIndexByte(m.Sender, '@'); at >= 0 {
			m.Domain = m.Sender[at+1:]
		}
	}
	e, kind := live.lists.Match(m, time.Now)
	if e == nil {
		return nil
	}
	text := e.Text
	if text == "" {
		text = DeniedText
	}
	return &Refusal{Code: e.Code, Enhanced: deniedCodes[e.Code], Text: text, Reason: deniedReason(kind)}
}

// deniedReason is the word for logs and metrics: which kind of entry it was, and thus what to look for in `sluicectl deny ls`.
func deniedReason(kind lists.Kind) string {
	switch kind {
	case lists.Network:
		return "denied_net"
	case lists.Helo:
		return "denied_helo"
	case lists.Sender:
		return "denied_from"
	case lists.Domain:
		return "denied_domain"
	}
	return "denied_rcpt"
}
