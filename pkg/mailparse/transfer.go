package mailparse

import (
	"bytes"
	"encoding/base64"
)

// transferEncoding is a Content-Transfer-Encoding (RFC 2045 section 6).
type transferEncoding uint8

const (
	identity transferEncoding = iota // 7bit, 8bit, binary, and whatever is unknown
	inBase64
	inQuotedPrintable
)

func parseEncoding(value []byte) transferEncoding {
	value = skipSpace(value)
	if end := bytes.IndexAny(value, "; \t\r\n("); end >= 0 {
		value = value[:end]
	}
	value = bytes.Trim(value, `"'`)
	switch {
	case equalFold(value, "base64"):
		return inBase64
	case equalFold(value, "quoted-printable"):
		return inQuotedPrintable
	}
	return identity
}

// decodeBase64 decodes at most limit bytes, skipping what is no base64.
func decodeBase64(src []byte, limit int) ([]byte, Flags) {
	var flags Flags
	// Lines of 76 characters need 1.37 bytes for each decoded one.
	if most := 2*limit + 8; len(src) > most {
		src, flags = src[:most], Cut
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(src)))
	n, err := base64.StdEncoding.Decode(out, src)
	if err == nil {
		out = out[:n]
	} else {
		var state base64State
		var clean bool
		out, clean = state.append(out[:0], src, limit+1)
		cut := flags.Has(Cut) || len(out) > limit
		if !clean || !cut && !state.finish() {
			flags |= BadEncoding
		}
	}
	if len(out) > limit {
		out, flags = out[:limit], flags|Cut
	}
	return out, flags
}

// base64State decodes base64 in pieces. It skips bytes outside the alphabet, does not insist on padding,
// and starts afresh after padding, because some senders join separately encoded pieces.
type base64State struct {
	bits  uint32
	count uint // bits that wait: 0, 6, 12 or 18 before the next character
}

// append decodes src onto dst, up to limit bytes when limit is not negative. It says whether src was
// clean.
func (b *base64State) append(dst, src []byte, limit int) (_ []byte, clean bool) {
	clean = true
	for _, c := range src {
		v, ok := sextet(c)
		if !ok {
			if c == '=' {
				b.bits, b.count = 0, 0
			} else if !isSpace(c) {
				clean = false
			}
			continue
		}
		b.bits, b.count = b.bits<<6|v, b.count+6
		if b.count >= 8 {
			if limit >= 0 && len(dst) >= limit {
				return dst, clean
			}
			b.count -= 8
			dst = append(dst, byte(b.bits>>b.count))
			b.bits &= 1<<b.count - 1
		}
	}
	return dst, clean
}

// finish says whether the text ended between two bytes.
func (b *base64State) finish() bool { return b.count < 6 }

// endWord is called between two encoded words: what waits is dropped when it can only be filling, and
// kept when the sender cut the encoded text without regard to its groups of four.
func (b *base64State) endWord() {
	if b.count < 6 && b.bits == 0 {
		b.count = 0
	}
}

func sextet(c byte) (uint32, bool) {
	switch {
	case 'A' <= c && c <= 'Z':
		return uint32(c - 'A'), true
	case 'a' <= c && c <= 'z':
		return uint32(c-'a') + 26, true
	case '0' <= c && c <= '9':
		return uint32(c-'0') + 52, true
	case c == '+':
		return 62, true
	case c == '/':
		return 63, true
	}
	return 0, false
}

// decodeQuotedPrintable decodes at most limit bytes (RFC 2045 section 6.7). Damaged escapes stay as text.
func decodeQuotedPrintable(src []byte, limit int) ([]byte, Flags) {
	var flags Flags
	out := make([]byte, 0, min(len(src), limit))
	for len(src) > 0 {
		if len(out) >= limit {
			return out[:limit], flags | Cut
		}
		line, ending := src, []byte(nil)
		if n := bytes.IndexByte(src, '\n'); n >= 0 {
			line, ending = src[:n], src[n:n+1]
			if n > 0 && src[n-1] == '\r' {
				line, ending = src[:n-1], src[n-1:n+1]
			}
		}
		src = src[len(line)+len(ending):]
		if room := 3*(limit-len(out)) + 3; len(line) > room {
			line = line[:room]
		}
		line = bytes.TrimRight(line, " \t") // rule 3: added on the way
		if len(line) > 0 && line[len(line)-1] == '=' {
			line, ending = line[:len(line)-1], nil // rule 5: soft line break
		}
		var ok bool
		if out, ok = appendQuoted(out, line); !ok {
			flags |= BadEncoding
		}
		out = append(out, ending...)
	}
	if len(out) > limit {
		return out[:limit], flags | Cut
	}
	return out, flags
}

func appendQuoted(dst, line []byte) (_ []byte, ok bool) {
	ok = true
	for {
		n := bytes.IndexByte(line, '=')
		if n < 0 {
			return append(dst, line...), ok
		}
		dst = append(dst, line[:n]...)
		line = line[n:]
		if len(line) >= 3 {
			if c, isHex := hexByte(line[1], line[2]); isHex {
				dst, line = append(dst, c), line[3:]
				continue
			}
		}
		ok = false
		dst, line = append(dst, '='), line[1:]
	}
}

func hexByte(hi, lo byte) (byte, bool) {
	h, ok1 := hexDigit(hi)
	l, ok2 := hexDigit(lo)
	return h<<4 | l, ok1 && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}
