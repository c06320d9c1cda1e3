package smtp

import "strings"

// maxVerb is the length of the longest verb we know (STARTTLS).
const maxVerb = 8

// isVerb tells commands, which are in upper case, from what a client may say in a dialogue we do not have.
func isVerb(verb string) bool {
	switch verb {
	case "HELO", "EHLO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "HELP", "VRFY", "QUIT", "STARTTLS", "XCLIENT":
		return true
	}
	return false
}

// run is the table of commands.
func (s *Session) run(verb, arg string) Event {
	if s.refused && verb != "QUIT" {
		return s.protocolError(replyRefusedService)
	}
	switch verb {
	case "HELO", "EHLO":
		return s.runHelo(verb == "EHLO", arg)
	case "MAIL":
		return s.runMail(arg)
	case "RCPT":
		return s.runRcpt(arg)
	case "DATA":
		return s.runData(arg)
	case "BDAT":
		return s.runBdat(arg)
	case "RSET":
		return s.runReset(arg)
	case "NOOP":
		return s.junkReply(replyOK)
	case "HELP":
		return s.junkReply(replyHelp)
	case "VRFY":
		return s.runVerify(arg)
	case "QUIT":
		s.reply(replyBye)
		s.close()
		return Event{}
	case "STARTTLS":
		return s.runStartTLS(arg)
	case "XCLIENT":
		return s.runXClient(arg)
	case "AUTH", "ETRN", "EXPN", "SAML", "SEND", "SOML", "TURN":
		return s.protocolError(replyNotImplemented)
	}
	return s.unknown(verb)
}

// unknown answers a line that is not a command. The first line of an HTTP request, or a header field, ends the session: either a
// browser is misused to connect to this server (cross-protocol attack), or a mail is read as commands.
func (s *Session) unknown(verb string) Event {
	s.verb = "?" // whatever it was, it is not for logs and metrics
	switch strings.ToUpper(verb) {
	case "":
		return s.protocolError(replyEmptyLine)
	case "GET", "POST", "PUT", "HEAD", "CONNECT", "OPTIONS", "DELETE", "PATCH", "TRACE":
	default:
		if !strings.Contains(verb, ":") {
			return s.protocolError(replyUnknown)
		}
	}
	s.reply(replyNotSMTP)
	s.close()
	return Event{}
}

// runHelo takes any name (RFC 5321 section 4.1.4 forbids to refuse one that does not verify), but only in
// printable ASCII: it goes into headers and logs.
func (s *Session) runHelo(esmtp bool, arg string) Event {
	if arg == "" || len(arg) > 255 || !isASCII([]byte(arg)) {
		return s.protocolError(replyBadHelo)
	}
	if s.junk++; int(s.junk) > s.cfg.MaxJunk {
		return s.protocolError(replyJunk)
	}
	ev := s.reset()
	s.helo, s.esmtp = strings.Clone(arg), esmtp
	if !esmtp {
		s.reply(heloReply(s.cfg.Hostname))
		return ev
	}
	s.expectSync()
	s.reply(ehloReply(s.cfg, &s.peer))
	return ev
}

func (s *Session) runReset(arg string) Event {
	if arg != "" {
		return s.protocolError(replyNoArgument)
	}
	ev := s.reset()
	s.junkReply(replyOK)
	return ev
}

// reset drops the transaction; the event tells the driver when a delivery was open.
func (s *Session) reset() Event {
	open := s.tx != nil && s.tx.open
	s.tx = nil
	if open {
		return Event{Kind: EventAbort}
	}
	return Event{}
}

// runVerify discloses nothing (RFC 5321 section 3.5.3).
func (s *Session) runVerify(arg string) Event {
	if arg == "" {
		return s.protocolError(replyArgument)
	}
	return s.junkReply(replyVerify)
}

func (s *Session) runStartTLS(arg string) Event {
	switch {
	case arg != "":
		return s.protocolError(replyNoArgument)
	case s.peer.TLS != nil:
		return s.protocolError(replyTLSActive)
	case !s.cfg.StartTLS:
		return s.protocolError(replyNotImplemented)
	case s.tx != nil:
		return s.protocolError(replyInTransaction)
	}
	s.asking = EventStartTLS
	return Event{Kind: EventStartTLS}
}

// TLSStarted says that the handshake after EventStartTLS is done. The session forgets everything it learned before
// (RFC 3207 section 4.2).
func (s *Session) TLSStarted(info TLSInfo) {
	s.peer.TLS = &info
	s.helo, s.esmtp, s.tx = "", false, nil
}

// runXClient accepts what a trusted proxy says about the client (Postfix's XCLIENT). From other clients XCLIENT is an unknown
// command.
func (s *Session) runXClient(arg string) Event {
	switch {
	case !s.peer.XClient:
		return s.protocolError(replyUnknown)
	case s.tx != nil:
		return s.protocolError(replyInTransaction)
	}
	client, err := parseXClient(arg, s.peer.Client)
	if err != nil {
		return s.protocolError(badXClientReply(err))
	}
	if !s.peer.Proxy.IsValid() {
		s.peer.Proxy = s.peer.Client // who says so
	}
	s.peer.Client = client
	s.helo, s.esmtp = "", false
	s.reply(greeting(s.cfg.Hostname))
	return Event{Kind: EventXClient}
}
