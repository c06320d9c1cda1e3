package smtp

import (
	"errors"
	"strconv"
	"strings"
)

// Reply is one SMTP reply. It is an error too, so that smtpd's Sink and Recipients can return it.
type Reply struct {
	// Code is the three-digit reply code (RFC 5321 section 4.2).
	Code int
	// Enhanced is the enhanced status code such as "5.1.1" (RFC 3463); empty for replies that have none.
	Enhanced string
	// Text is what a person reads; a line feed in it makes a multi-line reply.
	Text string
	// Reason is one of a fixed set of words for logs and metrics, such as "relay". It is not sent.
	Reason string
}

// Error makes a Reply usable as an error.
func (r Reply) Error() string {
	return strings.TrimSpace(strconv.Itoa(r.Code) + " " + r.Enhanced + " " + strings.ReplaceAll(r.Text, "\n", " / "))
}

// Refuses reports whether something was not taken.
func (r Reply) Refuses() bool { return r.Code >= 400 || r == replyNotSMTP }

// With is r with a further line when it says no; "" adds none.
func (r Reply) With(text string) Reply {
	if r.Code >= 400 && text != "" {
		r.Text += "\n" + text
	}
	return r
}

// maxReplyLine is the longest reply line with its CRLF (RFC 5321 section 4.5.3.1.5).
const maxReplyLine = 512

// AppendTo adds r to out as RFC 5321 section 4.2.1 wants it: "250-" lines, a last "250 " line, the enhanced
// code on each of them (RFC 2034). Text is cut to the line limit and made printable ASCII: it can come from a
// policy or an error and must not become a reply of its own.
func (r Reply) AppendTo(out []byte) []byte {
	text := r.Text
	for {
		line, rest, more := strings.Cut(text, "\n")
		out = r.appendLine(out, line, more)
		if !more {
			return out
		}
		text = rest
	}
}

func (r Reply) appendLine(out []byte, line string, more bool) []byte {
	start := len(out)
	out = strconv.AppendInt(out, int64(r.Code), 10)
	if more {
		out = append(out, '-')
	} else {
		out = append(out, ' ')
	}
	if r.Enhanced != "" {
		out = append(append(out, r.Enhanced...), ' ')
	}
	for i := 0; i < len(line) && len(out)-start < maxReplyLine-2; i++ {
		c := line[i]
		if c < ' ' || c > '~' {
			c = '?'
		}
		out = append(out, c)
	}
	return append(out, '\r', '\n')
}

// Refusal turns the error of a Sink or a Recipients into the reply for the client. Only a well-formed 4xx or
// 5xx Reply passes; everything else is a fault of ours and therefore temporary.
func Refusal(err error) Reply {
	var r Reply
	if p := (*Reply)(nil); errors.As(err, &p) && p != nil {
		r = *p
	} else if !errors.As(err, &r) {
		return replyFault
	}
	if r.Code < 400 || r.Code > 599 {
		return replyFault
	}
	if len(r.Enhanced) < 5 || r.Enhanced[0] != byte('0'+r.Code/100) {
		r.Enhanced = string(rune('0'+r.Code/100)) + ".0.0"
	}
	return r
}
