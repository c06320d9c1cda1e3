package mailparse

import (
	"bytes"
	"slices"

	"github.com/sluice-mail/sluice/pkg/mailparse/charset"
	"github.com/sluice-mail/sluice/pkg/mailparse/transfer"
)

// paramValue is one parameter as found: plain, or in the extended form of RFC 2231.
type paramValue struct {
	bytes    []byte
	charset  []byte // declared by the extended form
	extended bool
	quoted   bool
	found    bool
}

// segment is one piece of a parameter that was split (RFC 2231 section 3).
type segment struct {
	number  int
	value   []byte
	percent bool // percent-encoded (section 4.1)
}

// param finds a parameter by its lower-case name. The extended forms win over the plain one, which
// senders add for old readers.
func param(value []byte, name string) paramValue {
	var plain paramValue
	var store [8]segment
	segments := store[:0]
	for s := scanParams(value); s.next(); {
		if len(s.name) < len(name) || !equalFold(s.name[:len(name)], name) {
			continue
		}
		rest := s.name[len(name):]
		text := unquote(s.value, s.quoted)
		if len(rest) == 0 {
			if !plain.found {
				plain = paramValue{bytes: text, quoted: s.quoted, found: true}
			}
			continue
		}
		if number, percent, ok := segmentName(rest); ok {
			segments = append(segments, segment{number, text, percent})
		}
	}
	if len(segments) == 0 {
		return plain
	}
	return joinSegments(segments)
}

// segmentName reads what follows the parameter's name: "*", "*0" or "*0*".
func segmentName(s []byte) (number int, percent, ok bool) {
	if s[0] != '*' {
		return 0, false, false
	}
	if len(s) == 1 {
		return 0, true, true
	}
	s = s[1:]
	if s[len(s)-1] == '*' {
		percent, s = true, s[:len(s)-1]
	}
	if len(s) == 0 || len(s) > 3 {
		return 0, false, false
	}
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0, false, false
		}
		number = number*10 + int(c-'0')
	}
	return number, percent, true
}

func joinSegments(segments []segment) paramValue {
	slices.SortStableFunc(segments, func(a, b segment) int { return a.number - b.number })
	out := paramValue{found: true, quoted: true, extended: true}
	if first := &segments[0]; first.percent {
		// charset'language'text; without the quotes all of it is text.
		if q := bytes.IndexByte(first.value, '\''); q >= 0 {
			if q2 := bytes.IndexByte(first.value[q+1:], '\''); q2 >= 0 {
				out.charset = first.value[:q]
				first.value = first.value[q+1+q2+1:]
			}
		}
	}
	for i, s := range segments {
		if i > 0 && s.number == segments[i-1].number {
			continue // the same piece twice: the first counts
		}
		if s.percent {
			out.bytes = appendPercent(out.bytes, s.value)
		} else {
			out.bytes = append(out.bytes, s.value...)
		}
	}
	return out
}

func appendPercent(dst, s []byte) []byte {
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, ok := transfer.HexByte(s[i+1], s[i+2]); ok {
				dst = append(dst, c)
				i += 2
				continue
			}
		}
		dst = append(dst, s[i])
	}
	return dst
}

// token is the value of a parameter that cannot contain white space, such as charset and boundary: an
// unquoted one ends there, whatever stands behind it.
func (v paramValue) token() ([]byte, bool) {
	if !v.quoted {
		if i := bytes.IndexAny(v.bytes, " \t"); i >= 0 {
			return v.bytes[:i], v.found
		}
	}
	return v.bytes, v.found
}

// text is the value as UTF-8. Encoded words are forbidden in parameters (RFC 2047 section 5) and very
// common in them.
func (v paramValue) text(hint string, limit int) (string, Flags) {
	if !v.extended {
		return decodeText(v.bytes, hint, limit)
	}
	s, ok := charset.ToUTF8(v.bytes, string(v.charset))
	return cutText(cleanText(s), limit, unless(ok, BadCharset))
}
