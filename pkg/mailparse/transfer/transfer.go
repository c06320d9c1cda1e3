// Package transfer decodes the content transfer encodings of mail (RFC 2045 section 6).
//
// It never fails: damaged text is decoded as far as possible, and clean says whether it was undamaged.
package transfer

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
)

// Encoding is a Content-Transfer-Encoding.
type Encoding uint8

// The encodings that change bytes, and none.
const (
	Identity Encoding = iota // 7bit, 8bit, binary, and whatever is unknown
	Base64
	QuotedPrintable
)

// Named finds the encoding of that name, in any case.
func Named(name []byte) Encoding {
	switch strings.ToLower(string(name[:min(len(name), len("quoted-printable")+1)])) {
	case "base64":
		return Base64
	case "quoted-printable":
		return QuotedPrintable
	}
	return Identity
}

// Decode undoes e, at most limit bytes of the result. It says whether src was clean, as far as it was read,
// and whether there was more. Unencoded text aliases src.
func Decode(e Encoding, src []byte, limit int) (out []byte, clean, cut bool) {
	limit = max(limit, 0)
	switch {
	case e == Base64:
		return decodeBase64(src, limit)
	case e == QuotedPrintable:
		return decodeQuotedPrintable(src, limit)
	case len(src) > limit:
		return src[:limit], true, true
	}
	return src, true, false
}

// decodeBase64 decodes at most limit bytes, skipping what is no base64.
func decodeBase64(src []byte, limit int) (out []byte, clean, cut bool) {
	// Lines of 76 characters need 1.37 bytes for each decoded one.
	first := src[:min(len(src), 2*limit+8)]
	out, clean = make([]byte, base64.StdEncoding.DecodedLen(len(first))), true
	n, err := base64.StdEncoding.Decode(out, first)
	if err == nil && (n > limit || len(first) == len(src)) {
		out = out[:n]
	} else {
		var state Base64State
		out, clean = state.Append(out[:0], src, limit+1)
		clean = clean && (len(out) > limit || state.finished())
	}
	if len(out) > limit {
		out, cut = out[:limit], true
	}
	return out, clean, cut
}

// Base64State decodes base64 in pieces. It skips bytes outside the alphabet, does not insist on padding,
// and starts afresh after padding, because some senders join separately encoded pieces.
type Base64State struct {
	bits  uint32
	count uint // bits that wait: 0, 6, 12 or 18 before the next character
}

// Append decodes src onto dst, up to limit bytes when limit is not negative. It says whether src was
// clean.
func (b *Base64State) Append(dst, src []byte, limit int) (_ []byte, clean bool) {
	clean = true
	for len(src) > 0 && (limit < 0 || len(dst) < limit) {
		line := src
		if n := bytes.IndexByte(src, '\n'); n >= 0 {
			line = src[:n+1]
		}
		src = src[len(line):]
		ok := false
		if b.count == 0 {
			dst, ok = appendGroups(dst, bytes.TrimRight(line, "\r\n"), limit)
		}
		if !ok {
			dst, ok = b.appendAny(dst, line, limit)
			clean = clean && ok
		}
	}
	return dst, clean
}

// appendGroups decodes a line of whole groups of four, as nearly all are, the fast way; or nothing.
func appendGroups(dst, line []byte, limit int) (_ []byte, ok bool) {
	most := len(line) / 4 * 3
	if len(line)%4 != 0 || limit >= 0 && len(dst)+most > limit {
		return dst, false
	}
	dst = slices.Grow(dst, most)
	n, err := base64.StdEncoding.Decode(dst[len(dst):len(dst)+most], line)
	if err != nil {
		return dst, false
	}
	return dst[:len(dst)+n], true
}

func (b *Base64State) appendAny(dst, src []byte, limit int) (_ []byte, clean bool) {
	clean = true
	for _, c := range src {
		v, ok := Sextet(c)
		if !ok {
			if c == '=' {
				b.bits, b.count = 0, 0
			} else if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
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

// finished says whether the text ended between two bytes.
func (b *Base64State) finished() bool { return b.count < 6 }

// EndWord is called between two encoded words: what waits is dropped when it can only be filling, and
// kept when the sender cut the encoded text without regard to its groups of four.
func (b *Base64State) EndWord() {
	if b.count < 6 && b.bits == 0 {
		b.count = 0
	}
}

// Sextet is the value of a character of the base64 alphabet (RFC 4648 section 4).
func Sextet(c byte) (uint32, bool) {
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
func decodeQuotedPrintable(src []byte, limit int) (out []byte, clean, cut bool) {
	clean = true
	out = make([]byte, 0, min(len(src), limit))
	for len(src) > 0 && len(out) < limit {
		var line, ending []byte
		line, ending, src = quotedLine(src)
		if room := 3*(limit-len(out)) + 3; len(line) > room {
			line = line[:room]
		}
		var ok bool
		out, ok = appendQuoted(out, line)
		clean = clean && ok
		out = append(out, ending...)
	}
	if len(out) > limit {
		return out[:limit], clean, true
	}
	return out, clean, len(src) > 0
}

// quotedLine takes a line off the front of src: what it says, and the line end that belongs to the text.
func quotedLine(src []byte) (line, ending, rest []byte) {
	line = src
	if n := bytes.IndexByte(src, '\n'); n >= 0 {
		line, ending = src[:n], src[n:n+1]
		if n > 0 && src[n-1] == '\r' {
			line, ending = src[:n-1], src[n-1:n+1]
		}
	}
	rest = src[len(line)+len(ending):]
	line = bytes.TrimRight(line, " \t") // rule 3: added on the way
	if len(line) > 0 && line[len(line)-1] == '=' {
		line, ending = line[:len(line)-1], nil // rule 5: soft line break
	}
	return line, ending, rest
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
			if c, isHex := HexByte(line[1], line[2]); isHex {
				dst, line = append(dst, c), line[3:]
				continue
			}
		}
		ok = false
		dst, line = append(dst, '='), line[1:]
	}
}

// HexByte is the byte that two hexadecimal digits, of either case, stand for.
func HexByte(hi, lo byte) (byte, bool) {
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
