package charset

import (
	"unicode/utf8"

	"golang.org/x/text/encoding/korean"
)

// decodeJohab decodes Johab (KS X 1001 annex 3, code page 1361), the Korean of old DOS and Windows programs:
// a syllable is two bytes, a set bit and three letters of five bits; symbols and Hanja stand in a denser order
// than in EUC-KR, from which the rest follows.
func decodeJohab(src []byte) (out []byte, ok bool) {
	ok = true
	out = make([]byte, 0, len(src)+len(src)/2)
	for i := 0; i < len(src); i++ {
		lead := src[i]
		if lead < utf8.RuneSelf {
			out = append(out, lead)
			continue
		}
		r := utf8.RuneError
		if i+1 < len(src) {
			if lead < 0xd8 {
				r = johabSyllable(uint16(lead)<<8 | uint16(src[i+1]))
			} else {
				r = johabSymbol(lead, src[i+1])
			}
		}
		if r == utf8.RuneError {
			ok = false
		} else {
			i++
		}
		out = utf8.AppendRune(out, r)
	}
	return out, ok
}

// johabSyllable puts a syllable together, or finds a letter that stands alone.
func johabSyllable(code uint16) rune {
	initial, medial, final := int(code>>10&31)-2, johabMedial(int(code>>5&31)), johabFinal(int(code&31))
	// Compatibility letters: initials and finals share one row in the order of the alphabet.
	const (
		initials = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
		finals   = "ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
		width    = len("ㄱ")
	)
	switch {
	case initial < -1 || initial > 18 || medial < -1 || final < 0:
		return utf8.RuneError
	case initial >= 0 && medial >= 0:
		return rune(0xac00 + (initial*21+medial)*28 + final)
	case initial >= 0 && final == 0:
		r, _ := utf8.DecodeRuneInString(initials[initial*width:])
		return r
	case medial >= 0 && initial < 0 && final == 0:
		return rune(0x314f + medial)
	case initial < 0 && final == 0:
		return '\u3000' // no letter at all: a space as wide as one
	case final > 0 && initial < 0 && medial < 0:
		r, _ := utf8.DecodeRuneInString(finals[(final-1)*width:])
		return r
	}
	return utf8.RuneError
}

// johabMedial numbers the vowels from 0; -1 is none, -2 no vowel at all. They stand in groups of six, two codes
// apart.
func johabMedial(code int) int {
	switch {
	case code == 2:
		return -1
	case code >= 3 && code <= 7:
		return code - 3
	case code >= 10 && code <= 15:
		return code - 5
	case code >= 18 && code <= 23:
		return code - 7
	case code >= 26 && code <= 29:
		return code - 9
	}
	return -2
}

// johabFinal numbers the closing consonants from 1; 0 is none, -1 no consonant at all.
func johabFinal(code int) int {
	switch {
	case code >= 1 && code <= 17:
		return code - 1
	case code >= 19 && code <= 29:
		return code - 2
	}
	return -1
}

// johabSymbol turns the code of a symbol or Hanja into that of EUC-KR: each lead byte has the 188 characters of two
// rows.
func johabSymbol(lead, trail byte) rune {
	row, column := 0, int(trail)-0x31
	switch {
	case lead >= 0xd9 && lead <= 0xde:
		row = 2 * int(lead-0xd9)
	case lead >= 0xe0 && lead <= 0xf9:
		row = 2*int(lead-0xe0) + 0x4a - 0x21
	default:
		return utf8.RuneError
	}
	switch {
	case trail >= 0x31 && trail <= 0x7e:
	case trail >= 0x91 && trail <= 0xfe:
		column = int(trail) - 0x43
	default:
		return utf8.RuneError
	}
	row, column = row+column/94, column%94
	text, err := korean.EUCKR.NewDecoder().Bytes([]byte{byte(0xa1 + row), byte(0xa1 + column)})
	if err != nil {
		return utf8.RuneError
	}
	r, _ := utf8.DecodeRune(text)
	return r
}
