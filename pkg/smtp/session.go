package smtp

import (
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// Session is the state machine of one SMTP connection.
//
// The driver's loop is:
//
//	for { n, ev := s.Feed(in); in = in[n:]; if ev.Kind == EventNone { break }; handle(ev) }
//	write(s.Output()); s.Flushed()
//
// so Feed is called until it says EventNone, also with no input left. Output may be written at any time: when
// it has grown over 4 KB, and before a question whose answer takes long. A question must be answered (Accept,
// Reject) before the next Feed.
//
// The sync rules (RFC 2920: EHLO, DATA and STARTTLS end a pipelined group) need no care from the driver: input
// that is fed before the reply to such a command was written is refused, and the connection closed.
type Session struct {
	cfg  *SessionConfig
	peer Peer
	tx   *transaction // nil outside a mail transaction, so that an idle session is small
	out  []byte       // queued replies
	line []byte       // the beginning of a command line whose end has not come yet
	helo string
	verb string // the command being answered, for the Observer
	last string // reason of the last reply

	chunk uint64 // bytes of the current BDAT chunk still to come

	// Narrow, as an idle session should be small: with wider ones it takes 288 bytes instead of 256.
	lineLen  int32 // length of the command line so far, also when not all of it is kept
	syncMark int32 // where in out the reply begins that must be written before more input may come

	mails, errors, junk, rejected, commands int32

	state   uint8     // of the dialogue
	asking  EventKind // the open question
	esmtp   bool      // EHLO, not HELO
	final   bool      // the current BDAT chunk is the last
	sync    bool      // a reply is queued that must be written before more input may come
	rest    bool      // the last Feed left input behind
	lineCR  bool      // the last byte of the partial command line is CR
	drain   bool      // Shutdown was asked for
	refused bool      // greeted with 554: only QUIT is answered
	secrets bool      // what comes may be the rest of an AUTH dialogue
}

// The states of a dialogue.
const (
	stateStart   = iota // before the greeting
	stateCommand        // reading command lines
	stateData           // between 354 and the final dot
	stateChunk          // inside a BDAT chunk
	stateClosed         // over
)

// NewSession returns a session that has said nothing yet.
func NewSession(cfg *SessionConfig, peer Peer) *Session {
	return &Session{cfg: cfg, peer: peer}
}

// Greet queues the 220. Input fed before it was written is an early talker: refused and closed.
func (s *Session) Greet() {
	s.state = stateCommand
	s.expectSync()
	s.reply(greeting(s.cfg.Hostname))
}

// Refuse queues r instead of the greeting. After a 421 the connection is to be closed (the next event is
// EventClose); after a 554 or 521 only QUIT gets more than 503 (RFC 5321 section 3.1, RFC 7504).
func (s *Session) Refuse(r Reply) {
	s.state, s.refused = stateCommand, true
	s.reply(r)
	if r.Code == 421 {
		s.close()
	}
}

// Feed consumes n bytes of in and returns the next event. EventNone means that all of in is consumed. The
// result does not depend on how the bytes are divided among calls.
func (s *Session) Feed(in []byte) (n int, ev Event) {
	if s.asking != EventNone {
		panic("smtp: Feed while a question is open")
	}
	total := 0
	for {
		n, ev = s.step(in)
		total, in = total+n, in[n:]
		s.rest = len(in) > 0
		if ev.Kind != EventNone || len(in) == 0 && !s.pending() {
			return total, ev
		}
	}
}

// step consumes input up to the next reply or event, at least one byte when there is one.
func (s *Session) step(in []byte) (n int, ev Event) {
	if len(in) > 0 && (s.sync || s.state == stateStart) {
		s.violation()
	}
	s.drainIfIdle()
	switch s.state {
	case stateCommand:
		return s.feedCommand(in)
	case stateData:
		return s.feedData(in)
	case stateChunk:
		return s.feedChunk(in)
	case stateClosed:
		return len(in), Event{Kind: EventClose}
	}
	return 0, Event{}
}

// pending reports whether there is something to do without more input.
func (s *Session) pending() bool {
	switch s.state {
	case stateClosed:
		return true
	case stateChunk:
		return s.chunk == 0
	case stateCommand:
		return s.drain && s.tx == nil
	}
	return false
}

// expectSync says that the reply about to be queued must be written before more input may come.
func (s *Session) expectSync() {
	s.sync, s.syncMark = true, int32(len(s.out))
}

// violation is input where the client had to wait for a reply (RFC 2920 section 3.1), or for the greeting (an
// early talker: a client that does not wait is a robot). The reply it did not wait for is withdrawn if it has not been
// written yet. This refuses the inner DATA of a smuggled mail, requests of other protocols, and commands injected
// before TLS.
func (s *Session) violation() {
	if s.sync && int(s.syncMark) <= len(s.out) {
		s.out = s.out[:s.syncMark]
	}
	s.end(replySync)
}

// close ends the session: all further input is thrown away.
func (s *Session) close() {
	s.state, s.sync = stateClosed, false
	s.tx, s.line = nil, nil
	s.asking, s.chunk = EventNone, 0
}

// reply queues r as the answer to the current command.
func (s *Session) reply(r Reply) {
	s.out, s.last = r.With(s.cfg.RejectText).AppendTo(s.out), r.Reason
	if s.cfg.Observer != nil {
		s.cfg.Observer.Replied(s, s.verb, r)
	}
}

// AwaitsFlush reports whether a reply is queued that the client has to wait for.
func (s *Session) AwaitsFlush() bool { return s.sync }

// Output is the queued reply bytes; valid until the next call of any other method.
func (s *Session) Output() []byte { return s.out }

// Flushed says that Output was written to the client.
func (s *Session) Flushed() {
	s.out, s.syncMark = nil, 0
	// Input that was here before the reply was written has not waited for it.
	if !s.rest {
		s.sync = false
	}
}

// Shutdown asks the session to end: at once with 421 when no mail is on its way, else after the transaction.
// It reports whether the session is over, that is, Output is to be written and the connection closed; when
// false, EventClose comes later. It must not be called while a question is open.
func (s *Session) Shutdown() (over bool) {
	s.drain = true
	s.drainIfIdle()
	return s.state == stateClosed
}

func (s *Session) drainIfIdle() {
	if s.drain && s.tx == nil && (s.state == stateCommand || s.state == stateStart) {
		s.end(replyShutdown)
	}
}

// Timeout ends the session with 421 4.4.2: the driver writes Output, drops an open delivery and closes. After that the session
// accepts no command, and discards all input, even if the timeout was in the middle of a mail.
func (s *Session) Timeout() {
	if s.state != stateClosed {
		s.end(replyTimeout)
	}
}

// Fail says that the driver could not go on with an event: a Write failed, for example. In the middle of a mail
// the delivery must have been dropped; the rest of the mail is consumed and err answers it. Anywhere else, and
// with a 421, the session ends with err.
func (s *Session) Fail(err error) {
	r := Refusal(err)
	if s.state == stateClosed {
		return
	}
	if s.InData() && s.tx != nil && r.Code != 421 {
		s.tx.open = false
		s.tx.fail(r)
		return
	}
	s.end(r)
}

// Peer is the other end, as XCLIENT and STARTTLS may have changed it.
func (s *Session) Peer() Peer { return s.peer }

// Helo is the name the client gave; empty before HELO or EHLO.
func (s *Session) Helo() string { return s.helo }

// Commands is how many commands came.
func (s *Session) Commands() int { return int(s.commands) }

// LastReason is the Reason of the last reply: of a Closed session, why it is over.
func (s *Session) LastReason() string { return s.last }

// Asked is the recipient of the last RCPT of the current transaction.
func (s *Session) Asked() Rcpt {
	if s.tx == nil {
		return Rcpt{}
	}
	return s.tx.asked
}

// Envelope is the envelope of the current transaction, nil outside one.
func (s *Session) Envelope() *mailv1.Envelope {
	if s.tx == nil {
		return nil
	}
	return s.tx.env
}

// Flags is what was noticed about the bytes of the mail so far: a set of mailv1.Flag bits.
func (s *Session) Flags() uint64 {
	if s.tx == nil {
		return 0
	}
	return s.tx.mailFlags()
}

// InData reports whether the next bytes are mail (DATA, or inside a BDAT chunk): the driver's data deadlines
// and minimum rate apply.
func (s *Session) InData() bool { return s.state == stateData || s.state == stateChunk }

// InTransaction reports whether a MAIL was accepted and its mail is not finished.
func (s *Session) InTransaction() bool { return s.tx != nil }

// Closed reports whether the session is over.
func (s *Session) Closed() bool { return s.state == stateClosed }
