package smtp

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// refData is the naive reference for the data of a DATA command: the rules of RFC 5321 sections 4.1.1.4 and
// 4.5.2 and the line-ending table said with Index and loops, far too slow to ship. end is the offset behind the
// final dot's CRLF, -1 when it has not come.
func refData(in []byte) (data []byte, flags uint64, suspect bool, end int) {
	// The CRLF of the DATA command counts as the one before the first line.
	stuffed := append([]byte("\r\n"), in...)
	at := bytes.Index(stuffed, []byte("\r\n.\r\n"))
	end = at + 3
	if at < 0 {
		end = -1
		// What may still become the final dot is not data yet.
		for _, tail := range []string{".\r", "."} {
			if bytes.HasSuffix(stuffed, []byte("\r\n"+tail)) {
				stuffed = stuffed[:len(stuffed)-len(tail)]
				break
			}
		}
	} else {
		stuffed = stuffed[:at+2]
	}
	flags, suspect = refFlags(stuffed, end >= 0)
	return bytes.ReplaceAll(stuffed, []byte("\r\n."), []byte("\r\n"))[2:], flags, suspect, end
}

// refFlags looks at stuffed data that begins with the CRLF of the command.
func refFlags(b []byte, whole bool) (flags uint64, suspect bool) {
	for i, c := range b {
		switch {
		case c == 0:
			flags |= uint64(mailv1.Flag_FLAG_NUL)
		case c >= 0x80:
			flags |= uint64(mailv1.Flag_FLAG_8BIT_UNDECLARED)
		case c == '\r' && i+1 < len(b) && b[i+1] != '\n', c == '\r' && i+1 == len(b) && whole:
			flags |= uint64(mailv1.Flag_FLAG_BARE_CR)
			suspect = true
		case c == '\n' && b[i-1] != '\r':
			flags |= uint64(mailv1.Flag_FLAG_BARE_LF)
			if bytes.HasPrefix(b[i+1:], []byte(".")) || bytes.HasSuffix(b[:i], []byte("\r\n.")) {
				suspect = true
			}
		}
	}
	return flags, suspect
}

// refHops counts the Received fields of the header.
func refHops(data []byte) (n int) {
	for line := range strings.Lines(string(data)) {
		line = strings.ReplaceAll(strings.TrimRight(line, "\r\n"), "\x00", "0")
		if strings.Trim(line, "\r") == "" {
			break
		}
		if strings.HasPrefix(strings.ToLower(strings.TrimLeft(line, "\r")), "received:") {
			n++
		}
	}
	return n
}

// refServer walks over the bytes of a client with the reply codes a Session gave, and says what must have been
// stored and whether there were exactly the replies there had to be. It believes the Session which commands
// were fine; framing, data and verdicts are its own.
type refServer struct {
	cfg    *SessionConfig
	buf    []byte   // input not yet understood
	codes  []string // replies not yet explained
	body   []byte   // of the mail so far
	inData bool
	closed bool
	stored []refMail
}

type refMail struct {
	data  []byte
	flags uint64
}

// pop takes the next reply code; in a turn after which the connection is closed, the last one closed it.
func (r *refServer) pop(closed bool, want ...string) error {
	if len(r.codes) == 0 {
		return fmt.Errorf("a reply is missing")
	}
	code := r.codes[0]
	r.codes = r.codes[1:]
	if r.closed = closed && len(r.codes) == 0; r.closed {
		want = append(want, "221", "421", "500", "521", "550", "552", "554")
	}
	if len(want) > 0 && !slices.Contains(want, code) {
		return fmt.Errorf("got %s, want one of %v", code, want)
	}
	return nil
}

// turn is one segment of input, all replies to it, and whether the connection was closed after it.
func (r *refServer) turn(in []byte, replies string, closed bool) error {
	r.buf = append(r.buf, in...)
	r.codes = codes(replies)
	for n := -1; len(r.buf) != n && len(r.buf) > 0 && !r.closed; {
		n = len(r.buf)
		if err := r.step(closed); err != nil {
			return err
		}
	}
	if closed && !r.closed && !r.inData {
		// An endless line, or a ClientHello.
		if err := r.pop(closed, "never"); err != nil {
			return err
		}
	}
	if len(r.codes) > 0 || r.closed != closed {
		return fmt.Errorf("closed: %v, should be %v; replies nobody asked for: %v", closed, r.closed, r.codes)
	}
	return nil
}

var bdatLine = regexp.MustCompile(`^(?i:BDAT) +(\d{1,18})( +(?i:LAST))? *\r\n$`)

func (r *refServer) step(closed bool) error {
	if r.inData {
		return r.data(closed)
	}
	end := bytes.IndexByte(r.buf, '\n') + 1
	if end == 0 || end > 8192 || bytes.HasPrefix(r.buf, []byte("\x16\x03")) {
		return nil
	}
	line := string(r.buf[:end])
	if m := bdatLine.FindStringSubmatch(line); m != nil && end <= 2048 {
		return r.bdat(m[1], m[2] != "", end, closed)
	}
	if len(r.codes) == 0 {
		return fmt.Errorf("no reply to %.60q", line)
	}
	r.buf = r.buf[end:]
	verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimRight(line, " \r\n")), " ")
	code := r.codes[0]
	switch {
	case !strings.HasSuffix(line, "\r\n"):
		return r.pop(closed, "never")
	case (verb == "EHLO" && code == "250" || verb == "DATA" && code == "354" || verb == "STARTTLS" && code == "220") && len(r.buf) > 0:
		return fmt.Errorf("input behind %s was not refused", verb)
	case verb == "DATA" && code == "354":
		r.inData = true
		r.body = nil
	case verb == "MAIL" && code == "250":
		r.body = nil
	}
	return r.pop(closed)
}

// data looks for the end of the mail in everything since 354.
func (r *refServer) data(closed bool) error {
	r.body = append(r.body, r.buf...)
	r.buf = nil
	data, flags, suspect, end := refData(r.body)
	if len(data) > int(r.cfg.MaxMessageBytes)*3/2 {
		err := r.pop(closed, "552")
		if err == nil && !r.closed {
			err = fmt.Errorf("an overrun did not close")
		}
		return err
	}
	if end < 0 {
		return nil
	}
	r.inData, r.buf = false, r.body[end:]
	return r.verdict(closed, data, flags, suspect)
}

// bdat consumes one chunk.
func (r *refServer) bdat(number string, last bool, skip int, closed bool) error {
	size, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	if closed && len(r.codes) == 1 && (r.codes[0] == "552" || r.codes[0] == "421") {
		return r.pop(closed) // refused without reading the chunk
	}
	if len(r.buf) < skip+size {
		return nil
	}
	chunk := r.buf[skip : skip+size]
	r.buf = r.buf[skip+size:]
	if len(r.codes) == 0 {
		return fmt.Errorf("no reply to a chunk")
	}
	switch r.codes[0] {
	case "421", "501", "503", "554": // 554 is "no valid recipients", or a loop
		return r.pop(closed)
	}
	r.body = append(r.body, chunk...)
	if !last {
		return r.pop(closed, "250", "550", "552")
	}
	flags, _ := refFlags(append([]byte("\r\n"), r.body...), true)
	return r.verdict(closed, r.body, flags|uint64(mailv1.Flag_FLAG_BDAT), false)
}

// verdict is what becomes of a whole mail.
func (r *refServer) verdict(closed bool, data []byte, flags uint64, suspect bool) error {
	want := "250"
	switch {
	case len(data) > int(r.cfg.MaxMessageBytes):
		want = "552"
	case suspect, r.cfg.BareLF == BareLFReject && flags&bareEndings != 0:
		want = "550"
	case refHops(data) >= 100:
		want = "554"
	default:
		r.stored = append(r.stored, refMail{bytes.Clone(data), flags})
	}
	r.body = nil
	return r.pop(closed, want)
}
