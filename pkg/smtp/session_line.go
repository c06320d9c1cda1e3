package smtp

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

const (
	// maxLine is the longest command line we take, with its CRLF. RFC 5321 section 4.5.3.1.4 asks for 512 plus
	// what each extension adds; 2048 is what Postfix takes.
	maxLine = 2048
	// maxLineSearch is where we stop looking for the end of a command line.
	maxLineSearch = 8192
)

// feedCommand looks for the end of a command line. A complete line is parsed in place; the beginning of an incomplete one is
// kept until its end arrives.
func (s *Session) feedCommand(in []byte) (n int, ev Event) {
	if len(in) == 0 {
		return 0, ev
	}
	end := bytes.IndexByte(in, '\n') + 1
	if end == 0 {
		s.keep(in)
		return len(in), ev
	}
	crlf := end > 1 && in[end-2] == '\r' || end == 1 && s.lineCR
	line, length := in[:end], end
	if s.lineLen > 0 || end > maxLine {
		s.keep(line)
		line, length = s.line, int(s.lineLen)
		s.line, s.lineLen = nil, 0
	}
	switch {
	case s.state == stateClosed || s.isTLS(line):
	case !crlf:
		// Only CRLF ends a command (RFC 5321 section 2.3.8). After anything else, client and server may disagree on what is a command.
		s.end(replyBareLF)
	case length > maxLine:
		s.verb = ""
		s.protocolError(replyLongLine)
	default:
		ev = s.command(line[:len(line)-2])
	}
	return end, ev
}

// keep adds part of a command line to what came before. Of an overlong line only the length is remembered.
func (s *Session) keep(part []byte) {
	s.lineLen += int32(len(part))
	if room := maxLine - len(s.line); room > 0 {
		s.line = append(s.line, part[:min(room, len(part))]...)
	}
	s.lineCR = part[len(part)-1] == '\r'
	if !s.isTLS(s.line) && s.lineLen > maxLineSearch {
		s.end(replyLongLine)
	}
}

// isTLS notices a TLS handshake on a plaintext port by its first two bytes (RFC 8446 section 5.1): no line ending may
// ever come.
func (s *Session) isTLS(line []byte) bool {
	if len(line) < 2 || line[0] != 0x16 || line[1] != 0x03 {
		return false
	}
	s.end(replyNotSMTP)
	return true
}

// end closes the session with a reply to something that is no command.
func (s *Session) end(r Reply) {
	s.verb = ""
	s.reply(r)
	s.close()
}

// command checks one command line, which is without its CRLF, and runs it.
func (s *Session) command(line []byte) Event {
	s.commands++
	s.observe(line)
	s.verb = ""
	switch {
	case bytes.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return s.protocolError(replyControl)
	case !utf8.Valid(line):
		return s.protocolError(replyNotUTF8)
	}
	verb, arg, _ := strings.Cut(strings.TrimRight(string(line), " "), " ")
	if len(verb) > maxVerb {
		return s.unknown(verb)
	}
	s.verb = strings.ToUpper(verb)
	return s.run(s.verb, strings.Trim(arg, " "))
}

// observe passes a command to the Observer. AUTH is not offered. If a client sends it nevertheless, its arguments, on that line
// or on the next ones, are a name and a password and must not be logged.
func (s *Session) observe(line []byte) {
	if s.cfg.Observer == nil {
		return
	}
	word, _, _ := bytes.Cut(line, []byte(" "))
	verb := strings.ToUpper(string(word[:min(len(word), maxVerb+1)]))
	switch {
	case verb == "AUTH":
		s.secrets = true
		line = word
	case s.secrets && isVerb(verb):
		s.secrets = false
	case s.secrets, strings.HasPrefix(verb, "AUTH"):
		line = []byte("(hidden)")
	}
	s.cfg.Observer.Command(s, line)
}

// protocolError answers one, and ends the session at the last one we are ready to take.
func (s *Session) protocolError(r Reply) Event {
	s.errors++
	if int(s.errors) >= s.cfg.MaxErrors {
		r = replyTooManyErrors
	}
	s.reply(r)
	if r.Code == 421 || r.Code == 521 {
		s.close()
	}
	return Event{}
}

// junkReply answers a command that moves no mail. Too many of them without a mail are errors.
func (s *Session) junkReply(r Reply) Event {
	s.junk++
	if int(s.junk) > s.cfg.MaxJunk {
		return s.protocolError(replyJunk)
	}
	s.reply(r)
	return Event{}
}
