package api

import (
	"encoding/json"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
)

// jsonFormat sends lists and mails as they have been composed.
func jsonFormat() huma.Format {
	return huma.Format{
		Marshal: func(w io.Writer, v any) (err error) {
			switch v := v.(type) {
			case *List:
				_, err = w.Write(v.json)
			case *Message:
				_, err = w.Write(v.json)
			default:
				err = huma.DefaultJSONFormat.Marshal(w, v)
			}
			return err
		},
		Unmarshal: json.Unmarshal,
	}
}

// appendJSON is encoding/json's result, with a line end. A test compares the two. By hand, because encoding/json would take
// as long for a list as everything else about the request, most of it for times.
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
