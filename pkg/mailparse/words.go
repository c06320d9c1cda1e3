package mailparse

import (
	"bytes"
	"unicode/utf8"

	"github.com/sluice-mail/sluice/pkg/mailparse/charset"
	"github.com/sluice-mail/sluice/pkg/mailparse/transfer"
)

// decodeText turns the value of an unstructured field into UTF-8 without control characters: unfolded
// (RFC 5322 section 2.2.3), encoded words decoded (RFC 2047) wherever they stand, raw 8-bit text guessed
// with the help of the charset hint.
func decodeText(value []byte, hint string, limit int) (string, Flags) {
	value = bytes.Trim(value, " \t\r\n")
	if isPlainText(value) && len(value) <= limit {
		return string(value), 0
	}
	d := wordDecoder{hint: hint}
	// Words are longer than their text, so a few times the limit is needed to fill it, and enough.
	if most := 4*limit + 256; len(value) > most {
		value, d.flags = value[:most], Cut
	}
	d.decode(value)
	return cutText(cleanText(string(d.out)), limit, d.flags)
}

func isPlainText(value []byte) bool {
	for i, c := range value {
		if c < ' ' || c >= 127 || c == '?' && i > 0 && value[i-1] == '=' {
			return false
		}
	}
	return true
}

type wordDecoder struct {
	hint  string
	out   []byte // UTF-8 so far
	flags Flags

	// Bytes of adjacent words in one charset, converted together because senders split characters
	// between words (forbidden by RFC 2047 section 5 rule 3).
	pending []byte
	charset []byte
	base64  transfer.Base64State

	// steps counts the bytes looked at in search of words; the tests hold it to a multiple of the length.
	steps int
}

func (d *wordDecoder) decode(v []byte) {
	literal, i := 0, 0
	afterWord := false
	for {
		n := bytes.Index(v[i:], []byte("=?"))
		if n < 0 {
			d.steps += len(v) - i
			break
		}
		i += n
		w, scanned, ok := parseWord(v[i:])
		d.steps += n + scanned
		if !ok {
			i += 2
			continue
		}
		// White space between two words only separates them (RFC 2047 section 6.2).
		if between := v[literal:i]; !afterWord || len(bytes.Trim(between, " \t\r\n")) > 0 {
			d.literal(between)
		}
		d.word(w)
		i += w.length
		literal, afterWord = i, true
	}
	d.literal(v[literal:])
	d.flush()
}

// word adds an encoded word to the pending ones.
func (d *wordDecoder) word(w encodedWord) {
	if !bytes.EqualFold(w.charset, d.charset) {
		d.flush()
		d.charset = w.charset
	}
	var ok bool
	if w.encoding == 'b' {
		d.pending, ok = d.base64.Append(d.pending, w.text, -1)
		d.base64.EndWord()
	} else {
		d.base64 = transfer.Base64State{}
		d.pending, ok = appendQ(d.pending, w.text)
	}
	if !ok {
		d.flags |= BadEncoding
	}
}

func (d *wordDecoder) flush() {
	if len(d.pending) > 0 {
		s, ok := charset.ToUTF8(d.pending, string(d.charset))
		d.out = append(d.out, s...)
		d.flags |= unless(ok, BadCharset)
	}
	d.pending, d.charset, d.base64 = d.pending[:0], nil, transfer.Base64State{}
}

// literal adds text outside of words.
func (d *wordDecoder) literal(s []byte) {
	d.flush()
	if len(s) == 0 {
		return
	}
	s = unquote(s, false) // takes out the line ends of folds
	text, ok := charset.Guess(s, d.hint)
	d.out = append(d.out, text...)
	d.flags |= unless(ok, BadCharset)
}

type encodedWord struct {
	charset  []byte
	encoding byte // 'b' or 'q'
	text     []byte
	length   int // of the whole word
}

// parseWord reads the encoded word s begins with: "=?" charset ["*" language] "?" encoding "?" text "?=".
// The 75 characters of RFC 2047 and the ban on spaces inside are not enforced. It also returns how many
// bytes it looked at.
func parseWord(s []byte) (w encodedWord, scanned int, ok bool) {
	const longestCharset = 64
	head := s[2:min(len(s), 2+longestCharset)]
	scanned = 2 * len(head)
	q := bytes.IndexByte(head, '?')
	if q <= 0 || bytes.ContainsAny(head[:q], " \t\r\n=\"<>@,;()") {
		return w, scanned, false
	}
	w.charset = head[:q]
	if star := bytes.IndexByte(w.charset, '*'); star >= 0 {
		w.charset = w.charset[:star] // RFC 2231 section 5: language
	}
	at := 2 + q + 1
	if len(s) < at+2 || s[at+1] != '?' {
		return w, scanned, false
	}
	w.encoding = lower(s[at])
	if w.encoding != 'b' && w.encoding != 'q' {
		return w, scanned, false
	}
	at += 2
	end, ok := endOfWord(s[at:])
	scanned += end + 2
	if !ok {
		return w, scanned, false
	}
	w.text, w.length = s[at:at+end], at+end+2
	return w, scanned, true
}

// endOfWord finds "?=", or returns how far it looked. It stops at the beginning of another word, so that a sequence of words
// without an end is still read in linear time. In "=?=" the first character is padding, and the others are the end.
func endOfWord(s []byte) (end int, ok bool) {
	for i := 0; i+1 < len(s); {
		n := bytes.IndexByte(s[i:], '?')
		if n < 0 || i+n+1 >= len(s) {
			break
		}
		i += n
		if s[i+1] == '=' {
			return i, true
		}
		if i > 0 && s[i-1] == '=' {
			return i, false
		}
		i++
	}
	return len(s), false
}

// appendQ decodes the "Q" encoding (RFC 2047 section 4.2).
func appendQ(dst, s []byte) (_ []byte, ok bool) {
	ok = true
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '_':
			dst = append(dst, ' ')
		case '=':
			if i+2 < len(s) {
				if b, isHex := transfer.HexByte(s[i+1], s[i+2]); isHex {
					dst = append(dst, b)
					i += 2
					continue
				}
			}
			ok = false
			dst = append(dst, c)
		case '\r', '\n':
		default:
			dst = append(dst, c)
		}
	}
	return dst, ok
}

// cleanText replaces control characters by spaces, so that a decoded line end cannot pretend to be
// another field, and trims the ends.
func cleanText(s string) string {
	dirty := false
	for _, r := range s {
		if isControl(r) {
			dirty = true
			break
		}
	}
	if !dirty {
		return trimSpace(s)
	}
	out := make([]byte, 0, len(s))
	for _, r := range s {
		if isControl(r) {
			r = ' '
		}
		out = utf8.AppendRune(out, r)
	}
	return trimSpace(string(out))
}

func isControl(r rune) bool {
	return r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029'
}

func trimSpace(s string) string {
	for len(s) > 0 && s[0] == ' ' {
		s = s[1:]
	}
	for len(s) > 0 && s[len(s)-1] == ' ' {
		s = s[:len(s)-1]
	}
	return s
}

// cutText cuts at limit bytes without cutting a character.
func cutText(s string, limit int, flags Flags) (string, Flags) {
	if len(s) <= limit {
		return s, flags
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit], flags | Cut
}
