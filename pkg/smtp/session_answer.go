package smtp

// Accept answers the open question with yes. arg is the mailbox for EventRcpt and the id for EventEnd; else it
// is not used.
func (s *Session) Accept(arg string) {
	asked := s.settle()
	switch asked {
	case EventMail:
		s.mails++ // RFC 9422 counts transactions, not stored mails
		s.reply(replySender)
	case EventRcpt:
		s.addRcpt(arg)
	case EventBegin:
		s.tx.open = true
		if !s.tx.chunked {
			s.state = stateData
			s.expectSync()
			s.reply(replySendData)
		}
	case EventEnd:
		s.tx = nil
		s.junk, s.errors, s.rejected = 0, 0, 0
		s.reply(queuedReply(arg))
	case EventStartTLS:
		s.expectSync()
		if s.rest {
			// Plaintext behind STARTTLS is an injection (CVE-2011-0411); the driver must not get to the handshake.
			s.violation()
			return
		}
		s.reply(replyTLSReady)
	default:
		panic("smtp: Accept without a question")
	}
}

// Reject answers the open question with no. A Reply is sent as it is, any other error as 451 4.3.0; after a 421
// the next event is EventClose.
func (s *Session) Reject(err error) {
	r := Refusal(err)
	switch s.settle() {
	case EventMail, EventEnd:
		s.answer(r)
		s.tx = nil
	case EventRcpt:
		s.refuseRcpt(r)
	case EventBegin:
		if s.tx.chunked {
			// The chunk comes first; its end is answered with r.
			s.tx.fail(r)
			return
		}
		s.answer(r)
		s.tx = nil
	case EventStartTLS:
		s.answer(r)
	default:
		panic("smtp: Reject without a question")
	}
}

// settle closes the open question.
func (s *Session) settle() EventKind {
	asked := s.asking
	s.asking = EventNone
	return asked
}
