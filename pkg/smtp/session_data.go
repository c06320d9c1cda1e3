package smtp

import (
	"strconv"
	"strings"

	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

func (s *Session) runData(arg string) Event {
	switch {
	case arg != "":
		return s.protocolError(replyNoArgument)
	case s.tx == nil:
		return s.protocolError(replyMailFirst)
	case s.tx.chunked:
		return s.protocolError(replyInChunks)
	case s.tx.rcpts == 0:
		return s.protocolError(replyRcptFirst)
	case len(s.tx.env.GetRecipients()) == 0:
		return s.noRecipients()
	}
	s.asking = EventBegin
	return Event{Kind: EventBegin}
}

// feedData consumes the mail of a DATA command. The verdict on it is given after its true end, whatever is
// found before: a reply in the middle would leave the rest of the mail to be read as commands.
func (s *Session) feedData(in []byte) (n int, ev Event) {
	if len(in) == 0 {
		return 0, ev
	}
	span, n, end := s.tx.scan.next(in)
	if end {
		s.state = stateCommand
		s.verb = "."
		return n, s.endMail()
	}
	return n, s.take(span)
}

// take handles a span of mail of DATA or of a chunk.
func (s *Session) take(span []byte) Event {
	t := s.tx
	if len(span) == 0 {
		return Event{}
	}
	t.size += int64(len(span))
	t.hops.scan(span)
	if s.farTooLarge(0) {
		s.end(replyTooLarge)
		return Event{}
	}
	r := s.verdict()
	switch {
	case r.Code == 0:
		return Event{Kind: EventData, Span: span}
	case t.open:
		t.open = false
		return Event{Kind: EventAbort, Refused: r}
	}
	return Event{}
}

// verdict is the reply for what is wrong with the mail received so far; its code is 0 if nothing is wrong.
func (s *Session) verdict() Reply {
	t := s.tx
	switch {
	case s.cfg.MaxMessageBytes > 0 && t.size > s.cfg.MaxMessageBytes:
		return replyTooLarge
	case t.scan.suspect && !t.chunked:
		return replyEndings
	case s.cfg.BareLF == BareLFReject && t.scan.flags&bareEndings != 0:
		return replyEndings
	case t.hops.looping():
		return replyLoop
	}
	return t.failed
}

const bareEndings = uint64(mailv1.Flag_FLAG_BARE_LF | mailv1.Flag_FLAG_BARE_CR)

// farTooLarge reports whether the mail, with more bytes that are announced, is so much too large that we close
// instead of reading to its end.
func (s *Session) farTooLarge(more uint64) bool {
	limit := uint64(s.cfg.MaxMessageBytes)
	if limit == 0 {
		return false
	}
	size := more
	if s.tx != nil {
		size += uint64(s.tx.size + s.tx.discarded)
	}
	return size < more || size > limit+limit/2
}

// endMail is the end of a mail: ask for the commit, or refuse it.
func (s *Session) endMail() Event {
	s.tx.scan.finish()
	if r := s.verdict(); r.Code != 0 {
		open := s.tx.open
		s.answer(r)
		s.tx = nil
		if !open {
			return Event{}
		}
		return Event{Kind: EventAbort, Refused: r}
	}
	s.asking = EventEnd
	return Event{Kind: EventEnd}
}

// answer queues a reply that may be a 421, which ends the session.
func (s *Session) answer(r Reply) {
	s.reply(r)
	if r.Code == 421 {
		s.close()
	}
}

// runBdat begins a chunk (RFC 3030 section 2). Its bytes follow at once, whether we like the command or not:
// they are always consumed before the reply, or the connection is closed.
func (s *Session) runBdat(arg string) Event {
	size, last, ok := parseBdat(arg)
	switch {
	case !ok, s.farTooLarge(size):
		r := replyBadChunk
		if ok {
			r = replyTooLarge
		}
		s.reply(r)
		s.close()
		return Event{}
	case size == 0 && !last:
		return s.protocolError(replyEmptyChunk)
	}
	s.chunk, s.final, s.state = size, last, stateChunk
	t := s.tx
	if t == nil || t.chunked {
		return Event{}
	}
	t.chunked, t.scan.chunked = true, true
	if len(t.env.GetRecipients()) == 0 {
		t.chunkRefused = true
		return Event{}
	}
	s.asking = EventBegin
	return Event{Kind: EventBegin}
}

// parseBdat parses "size [LAST]".
func parseBdat(arg string) (size uint64, last, ok bool) {
	number, rest, _ := strings.Cut(arg, " ")
	rest = strings.TrimLeft(rest, " ")
	last = strings.EqualFold(rest, "LAST")
	if !isDigits(number) || rest != "" && !last {
		return 0, false, false
	}
	size, err := strconv.ParseUint(number, 10, 64)
	return size, last, err == nil
}

// feedChunk consumes the bytes of a chunk.
func (s *Session) feedChunk(in []byte) (n int, ev Event) {
	if s.chunk == 0 {
		s.state = stateCommand
		return 0, s.endChunk()
	}
	n = int(min(uint64(len(in)), s.chunk))
	s.chunk -= uint64(n)
	switch {
	case n == 0 || s.tx == nil:
		return n, ev
	case s.tx.chunkRefused:
		s.tx.discarded += int64(n)
		return n, ev
	}
	s.tx.scan.next(in[:n])
	return n, s.take(in[:n])
}

// endChunk answers a chunk. Once one was refused, those behind it are parts of a mail whose beginning is lost: no
// recipient that comes later makes a mail of them.
func (s *Session) endChunk() Event {
	t := s.tx
	switch {
	case t == nil:
		return s.protocolError(replyMailFirst)
	case len(t.env.GetRecipients()) == 0:
		return s.refuseChunk()
	case s.final:
		return s.endMail()
	}
	r := s.verdict()
	if r.Code == 0 {
		r = replyOK
	} else {
		t.chunkRefused = true
	}
	s.answer(r)
	return Event{}
}

// refuseChunk answers a chunk that nobody is to get.
func (s *Session) refuseChunk() (ev Event) {
	last := s.final
	if s.tx.rcpts == 0 {
		ev = s.protocolError(replyRcptFirst)
	} else {
		ev = s.noRecipients()
	}
	if last {
		s.tx = nil
	}
	return ev
}

// noRecipients answers DATA or a chunk when no recipient was accepted. The first time in a mail is not counted as an error, because
// a pipelined group is sent before the client can know. Further ones count as commands without a mail (MaxJunk), because each
// causes a reply that is much longer than the command.
func (s *Session) noRecipients() Event {
	if s.tx.noRcpts++; s.tx.noRcpts == 1 {
		s.reply(replyNoRecipients)
		return Event{}
	}
	return s.junkReply(replyNoRecipients)
}
