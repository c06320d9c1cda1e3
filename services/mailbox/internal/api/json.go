package api

import (
	"encoding/json"
	"io"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
)

// jsonFormat writes lists by hand: encoding/json would take as long for one as everything else about the request, most
// of it for times.
func jsonFormat() huma.Format {
	rooms := new(sync.Pool) // of *[]byte
	return huma.Format{
		Marshal: func(w io.Writer, v any) error {
			list, ok := v.(*List)
			if !ok {
				return huma.DefaultJSONFormat.Marshal(w, v)
			}
			room, _ := rooms.Get().(*[]byte)
			if room == nil {
				room = new([]byte)
			}
			*room = list.appendJSON((*room)[:0])
			_, err := w.Write(*room)
			if cap(*room) <= maxRoom {
				rooms.Put(room)
			}
			return err
		},
		Unmarshal: json.Unmarshal,
	}
}

// maxRoom is the largest buffer in bytes that is kept for the next list.
const maxRoom = 256 << 10

// appendJSON is encoding/json's result, with a line end. A test compares the two.
func (l *List) appendJSON(b []byte) []byte {
	b = appendString(append(b, `{"mailbox":`...), l.Mailbox)
	b = append(b, `,"messages":[`...)
	for i := range l.Messages {
		if i > 0 {
			b = append(b, ',')
		}
		b = l.Messages[i].appendJSON(b)
	}
	b = append(b, ']')
	if l.Next != "" {
		b = appendString(append(b, `,"next":`...), l.Next)
	}
	return append(b, "}\n"...)
}

func (s *Summary) appendJSON(b []byte) []byte {
	b = appendString(append(b, `{"id":`...), s.ID)
	b = appendString(append(b, `,"mailbox":`...), s.Mailbox)
	b = appendString(append(b, `,"sender":`...), s.Sender)
	b = appendString(append(b, `,"from":`...), s.From)
	b = appendString(append(b, `,"to":`...), s.To)
	b = appendString(append(b, `,"subject":`...), s.Subject)
	b = appendTime(append(b, `,"received":`...), s.Received)
	b = appendTime(append(b, `,"stored":`...), s.Stored)
	b = strconv.AppendInt(append(b, `,"size":`...), s.Size, 10)
	b = strconv.AppendBool(append(b, `,"seen":`...), s.Seen)
	b = strconv.AppendBool(append(b, `,"attachment":`...), s.Attachment)
	return append(b, '}')
}

func appendTime(b []byte, t time.Time) []byte {
	b = t.AppendFormat(append(b, '"'), time.RFC3339Nano)
	return append(b, '"')
}

// appendString escapes what JSON requires, and the line ends of JavaScript; what is not UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		size := 1
		var escape string
		switch r, n := utf8.DecodeRuneInString(s[i:]); {
		case c == '"':
			escape = `\"`
		case c == '\\':
			escape = `\\`
		case c == '\n':
			escape = `\n`
		case c == '\r':
			escape = `\r`
		case c == '\t':
			escape = `\t`
		case c == '\b':
			escape = `\b`
		case c == '\f':
			escape = `\f`
		case c < ' ':
			escape = `\u00` + string([]byte{hex[c>>4], hex[c&15]})
		case r == utf8.RuneError && n == 1:
			escape = `\ufffd`
		case r == '\u2028' || r == '\u2029':
			escape, size = `\u202`+string(hex[r&15]), n
		default:
			i += n
			continue
		}
		b = append(append(b, s[start:i]...), escape...)
		i += size
		start = i
	}
	return append(append(b, s[start:]...), '"')
}
