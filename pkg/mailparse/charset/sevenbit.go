package charset

import (
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/korean"

	"github.com/sluice-mail/sluice/pkg/mailparse/transfer"
)

// decodeUTF7 decodes UTF-7 (RFC 2152): ASCII with "+...-" runs of UTF-16 in base64 without padding.
func decodeUTF7(src []byte) (out []byte, ok bool) {
	ok = true
	out = make([]byte, 0, len(src))
	for i := 0; i < len(src); i++ {
		c := src[i]
		if c >= utf8.RuneSelf {
			out, ok = utf8.AppendRune(out, utf8.RuneError), false
			continue
		}
		if c != '+' {
			out = append(out, c)
			continue
		}
		start := i + 1
		end := start
		for end < len(src) {
			if _, in := transfer.Sextet(src[end]); !in {
				break
			}
			end++
		}
		if end == start && end < len(src) && src[end] == '-' {
			out = append(out, '+') // "+-"
		} else {
			var good bool
			out, good = appendUTF16Base64(out, src[start:end])
			ok = ok && good
		}
		i = end - 1
		if end < len(src) && src[end] == '-' {
			i = end
		}
	}
	return out, ok
}

func appendUTF16Base64(dst, s []byte) (_ []byte, ok bool) {
	var bits uint32
	var count uint
	var high rune
	ok = len(s) > 0
	for _, c := range s {
		v, _ := transfer.Sextet(c)
		bits, count = bits<<6|v, count+6
		if count < 16 {
			continue
		}
		count -= 16
		unit := rune(bits >> count & 0xffff)
		bits &= 1<<count - 1
		switch {
		case high != 0 && utf16.DecodeRune(high, unit) != utf8.RuneError:
			dst, high = utf8.AppendRune(dst, utf16.DecodeRune(high, unit)), 0
			continue
		case high != 0:
			dst, high, ok = utf8.AppendRune(dst, utf8.RuneError), 0, false
		}
		switch {
		case unit >= 0xd800 && unit < 0xdc00:
			high = unit
		case utf16.IsSurrogate(unit):
			dst, ok = utf8.AppendRune(dst, utf8.RuneError), false
		default:
			dst = utf8.AppendRune(dst, unit)
		}
	}
	if high != 0 {
		dst, ok = utf8.AppendRune(dst, utf8.RuneError), false
	}
	return dst, ok
}

// decodeISO2022KR decodes ISO-2022-KR (RFC 1557): between SO and SI the two bytes of a KS C 5601
// character stand without their high bits. Browsers dropped it, old Korean mail has it.
func decodeISO2022KR(src []byte) (out []byte, ok bool) {
	const shiftOut, shiftIn = 0x0e, 0x0f
	euc := make([]byte, 0, len(src))
	korean7 := false
	for i := 0; i < len(src); i++ {
		switch c := src[i]; {
		case c == 0x1b && len(src)-i >= 4 && string(src[i:i+4]) == "\x1b$)C":
			i += 3 // the header that announces the set
		case c == shiftOut:
			korean7 = true
		case c == shiftIn:
			korean7 = false
		case c == '\n':
			korean7 = false // section 2: every line begins in ASCII
			euc = append(euc, c)
		case korean7 && c > ' ' && c < 127:
			euc = append(euc, c|0x80)
		default:
			euc = append(euc, c)
		}
	}
	out, err := korean.EUCKR.NewDecoder().Bytes(euc)
	if err != nil {
		return []byte{}, false
	}
	return out, true
}
