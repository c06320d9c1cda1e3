package smtp

import (
	"net/netip"
	"strings"

	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// rcptOvershoot is how many recipients beyond MaxRcpts get a 452, and how many repeated ones a 250, before further ones
// count as errors. Clients
// may send a whole list in one pipelined group and take the 452s as "next mail"; ending their connection
// instead would make them start over again and again.
const rcptOvershoot = 1000

func (s *Session) runMail(arg string) Event {
	switch {
	case s.helo == "":
		return s.protocolError(replyHeloFirst)
	case s.tx != nil && s.tx.chunked:
		return s.protocolError(replyInChunks)
	case s.tx != nil:
		return s.protocolError(replyNested)
	case s.cfg.MaxMails > 0 && int(s.mails) >= s.cfg.MaxMails:
		s.reply(replyTooManyMails)
		s.close()
		return Event{}
	}
	arg, ok := cutPrefixFold(arg, "FROM:")
	if !ok || arg == "" {
		return s.protocolError(replyMailSyntax)
	}
	from, params, err := parsePath(strings.TrimLeft(arg, " "))
	if err != nil || from.given != "" && from.domain == "" {
		return s.protocolError(replyBadSender)
	}
	p, refused := parseMailParams(params, s.esmtp)
	switch {
	case refused.Code != 0:
		return s.protocolError(refused)
	case from.utf8 && !p.utf8:
		return s.junkReply(replySenderUTF8)
	case s.cfg.MaxMessageBytes > 0 && p.size > s.cfg.MaxMessageBytes:
		return s.junkReply(replyTooLarge)
	}
	s.tx = s.begin(from.String(), p)
	s.asking = EventMail
	return Event{Kind: EventMail}
}

func (s *Session) runRcpt(arg string) Event {
	switch {
	case s.tx == nil:
		return s.protocolError(replyMailFirst)
	case s.tx.chunked:
		return s.protocolError(replyInChunks)
	}
	arg, ok := cutPrefixFold(arg, "TO:")
	if !ok || arg == "" {
		return s.protocolError(replyRcptSyntax)
	}
	to, params, err := parsePath(strings.TrimLeft(arg, " "))
	if err != nil || to.given == "" || to.domain == "" && !strings.EqualFold(to.local, "postmaster") {
		return s.protocolError(replyBadRecipient)
	}
	list, ok := parseParams(params)
	switch {
	case !ok:
		return s.protocolError(replyBadParam)
	case len(list) > 0:
		return s.protocolError(replyUnknownParam)
	}
	return s.askRcpt(to)
}

// askRcpt refuses recipients that no policy can allow, and asks the driver about all others.
func (s *Session) askRcpt(to address) Event {
	t := s.tx
	t.rcpts++
	t.asked = Rcpt{
		Local: strings.Clone(to.local), Domain: strings.Clone(to.domain),
		AsGiven: strings.Clone(to.given), UTF8: t.env.GetSmtputf8(),
	}
	switch {
	case to.utf8 && !t.env.GetSmtputf8():
		s.refuseRcpt(replyRecipientUTF8)
	case strings.ContainsAny(to.local, "%!@"):
		// "user%elsewhere@here", "elsewhere!user@here" and `"user@elsewhere"@here` ask for relaying.
		s.refuseRcpt(replyRelay)
	case len(t.env.GetRecipients()) >= s.cfg.MaxRcpts:
		s.overRcpt(replyRcptMax)
	default:
		s.asking = EventRcpt
		return Event{Kind: EventRcpt, Rcpt: t.asked}
	}
	return Event{}
}

// addRcpt is the yes to an EventRcpt.
func (s *Session) addRcpt(mailbox string) {
	t := s.tx
	if t.has(mailbox) {
		if t.repeated++; t.repeated > rcptOvershoot {
			s.protocolError(replyRcptMax)
			return
		}
		s.reply(replyRecipient)
		return
	}
	r := &mailv1.Recipient{Mailbox: mailbox}
	if t.asked.AsGiven != mailbox {
		r.AsGiven = t.asked.AsGiven
	}
	size := rcptSize(r)
	if t.envSize+size > maxEnvelope {
		s.overRcpt(replyEnvelopeMax)
		return
	}
	t.envSize += size
	t.env.Recipients = append(t.env.Recipients, r)
	s.reply(replyRecipient)
}

// refuseRcpt refuses one recipient. It is not a protocol error, but too many are address harvesting.
func (s *Session) refuseRcpt(r Reply) {
	s.rejected++
	if int(s.rejected) >= s.cfg.MaxRejectedRcpts {
		r = replyTooManyRcpts
	}
	s.reply(r)
	if r.Code == 421 {
		s.close()
	}
}

// overRcpt answers a recipient above the limit: 452, never 552 (RFC 5321 section 4.5.3.1.10).
func (s *Session) overRcpt(r Reply) {
	s.tx.overMax++
	if s.tx.overMax > rcptOvershoot {
		s.protocolError(r)
		return
	}
	s.reply(r)
}

// cutPrefixFold is strings.CutPrefix without regard to case.
func cutPrefixFold(s, prefix string) (after string, found bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// endpoint is nil for the zero AddrPort.
func endpoint(a netip.AddrPort) *mailv1.Endpoint {
	if !a.Addr().IsValid() {
		return nil
	}
	return &mailv1.Endpoint{Ip: a.Addr().Unmap().AsSlice(), Port: uint32(a.Port())}
}
