// Package charset converts text in the charsets of mail to UTF-8.
//
// Like all of mailparse it never fails: when bytes are not valid in the declared charset, another charset is guessed or they
// are replaced by U+FFFD, and ok is false.
package charset

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
)

// charset is a way to turn bytes into UTF-8.
type charset struct {
	// decode is nil for UTF-8, ASCII and everything that says nothing ("DEFAULT", "unknown-8bit").
	decode encoding.Encoding
	custom func([]byte) (text []byte, ok bool)
	// ascii: bytes below 128 are ASCII whatever stands around them.
	ascii bool
	// wide: no character is one byte, so that a header field cannot be in it.
	wide  bool
	known bool
	utf8  bool
}

// inHeaders says whether raw 8-bit text of a header field can be in the charset: its characters may be single bytes,
// it has any above 127.
func (c charset) inHeaders() bool {
	return c.known && !c.wide && (c.decode != nil || c.custom != nil && c.ascii || c.utf8)
}

// find knows the labels browsers know (they are what senders mean, e.g. iso-8859-1 is really
// windows-1252), then those of the IANA registry, and some that are in neither.
func find(label string) charset {
	label = strings.ToLower(strings.Trim(label, " \t\"'<>;"))
	switch label {
	case "utf-8", "utf8":
		return charset{ascii: true, known: true, utf8: true}
	case "", "us-ascii", "ascii", "ansi_x3.4-1968", "7bit", "8bit", "binary":
		return charset{ascii: true, known: true}
	case "default", "unknown-8bit", "unknown", "x-unknown", "x-user-defined", "default_charset", "charset":
		return charset{ascii: true}
	case "utf-7", "unicode-1-1-utf-7", "x-unicode-1-1-utf-7", "csutf7":
		return charset{custom: decodeUTF7, known: true}
	case "iso-2022-kr", "csiso2022kr":
		return charset{custom: decodeISO2022KR, known: true}
	case "iso-2022-jp", "iso-2022-jp-1", "iso-2022-jp-2", "iso-2022-jp-ms", "cp50220", "cp50221", "csiso2022jp":
		return charset{decode: japanese.ISO2022JP, known: true}
	case "hz-gb-2312", "hz":
		return charset{decode: simplifiedchinese.HZGB2312, known: true}
	case "utf-16": // RFC 2781 section 4.3: big-endian unless the text says otherwise
		return charset{decode: unicode.UTF16(unicode.BigEndian, unicode.UseBOM), wide: true, known: true}
	case "iso-10646-ucs-2", "csunicode", "ucs-2", "ucs2": // network byte order, as the IANA registry says; browsers differ
		return charset{decode: unicode.UTF16(unicode.BigEndian, unicode.UseBOM), wide: true, known: true}
	case "utf-32", "utf32", "iso-10646-ucs-4", "csucs4", "ucs-4":
		return charset{decode: utf32.UTF32(utf32.BigEndian, utf32.UseBOM), wide: true, known: true}
	case "utf-32be", "utf32be":
		return charset{decode: utf32.UTF32(utf32.BigEndian, utf32.IgnoreBOM), wide: true, known: true}
	case "utf-32le", "utf32le":
		return charset{decode: utf32.UTF32(utf32.LittleEndian, utf32.IgnoreBOM), wide: true, known: true}
	case "johab", "cp1361", "ms1361", "windows-1361", "x-johab":
		return charset{custom: decodeJohab, ascii: true, known: true}
	case "cp932":
		return charset{decode: japanese.ShiftJIS, known: true}
	case "cp936", "gb18030-2000", "gbk2312", "gb_2312-80", "eucgb2312_cn": // the last is Python's name
		return charset{decode: simplifiedchinese.GB18030, ascii: true, known: true}
	case "cp949", "uhc", "ksc5601", "ks_c_5601":
		return charset{decode: korean.EUCKR, ascii: true, known: true}
	case "cp950", "big-5", "big5_tw", "chinesebig5", "chinese-big5":
		return charset{decode: traditionalchinese.Big5, ascii: true, known: true}
	case "koi8-ru":
		return charset{decode: charmap.KOI8U, ascii: true, known: true}
	}
	return findRegistered(label)
}

func findRegistered(label string) charset {
	e := registered(label)
	if e == nil {
		label = strings.NewReplacer("win-", "windows-", "windows1", "windows-1", "iso8859", "iso-8859").Replace(label)
		e = registered(label)
	}
	switch e {
	case nil:
		return charset{ascii: true}
	case unicode.UTF8:
		return charset{ascii: true, known: true, utf8: true}
	}
	_, oneByte := e.(*charmap.Charmap)
	ebcdic := e == charmap.CodePage037 || e == charmap.CodePage1047 || e == charmap.CodePage1140
	return charset{decode: e, ascii: oneByte && !ebcdic, wide: strings.HasPrefix(label, "utf-16"), known: true}
}

func registered(label string) encoding.Encoding {
	e, err := htmlindex.Get(label)
	if err != nil || e == encoding.Replacement {
		e, err = ianaindex.MIME.Encoding(label)
	}
	if err != nil || e == encoding.Replacement {
		return nil
	}
	return e
}

// ToUTF8 is Decode without a hint.
func ToUTF8(src []byte, label string) (text string, ok bool) { return Decode(src, label, "") }

// Decode converts text in a declared charset. The declaration is believed as far as it works out; ok is false when it
// is unknown or the bytes do not fit it. Bytes above 127 of which it says nothing are guessed with the help of the
// hint, a charset declared elsewhere. The result is at most four times as long as src and always valid UTF-8.
func Decode(src []byte, label, hint string) (text string, ok bool) {
	if label == "" {
		return Guess(src, hint)
	}
	c := find(label)
	switch {
	case c.ascii && IsASCII(src):
		return string(src), c.known
	case c.custom != nil:
		out, ok := c.custom(src)
		return string(out), ok
	case c.utf8:
		return Guess(src, "")
	case c.decode == nil:
		text, ok := Guess(src, hint)
		// 8-bit bytes must not be announced as ASCII.
		return text, ok && c.known && !strings.EqualFold(label, "us-ascii")
	}
	out, err := c.decode.NewDecoder().Bytes(src)
	if err != nil {
		return strings.ToValidUTF8(string(src), "\uFFFD"), false
	}
	return string(out), !bytes.Contains(out, []byte("\uFFFD"))
}

// Guess converts text that declares no charset of its own: UTF-8 if it is, then the charset the mail
// declares elsewhere, then windows-1252, in which every text makes some sense; ok is false for that, and for
// damage. Its result is bounded as that of ToUTF8.
func Guess(src []byte, hint string) (text string, ok bool) {
	if isJIS(src) {
		return ToUTF8(src, "iso-2022-jp")
	}
	if utf8.Valid(src) {
		return string(src), true
	}
	if c := find(hint); c.inHeaders() && !c.utf8 {
		return ToUTF8(src, hint)
	}
	if hasMultibyte(src) {
		// UTF-8 with damage: keep the rest readable.
		return strings.ToValidUTF8(string(src), "\uFFFD"), false
	}
	out := make([]byte, 0, len(src)+len(src)/2)
	for _, b := range src {
		out = utf8.AppendRune(out, charmap.Windows1252.DecodeByte(b))
	}
	return string(out), false
}

// isJIS recognises ISO-2022-JP sent raw in headers and bodies without a charset: ESC $ or ESC ( begin
// its escape sequences (RFC 1468).
func isJIS(src []byte) bool {
	i := bytes.IndexByte(src, 0x1b)
	return i >= 0 && i+2 < len(src) && (src[i+1] == '$' || src[i+1] == '(') && IsASCII(src)
}

// IsASCII says whether no byte has its high bit set.
func IsASCII(src []byte) bool {
	for _, c := range src {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// hasMultibyte says whether most characters above ASCII are valid UTF-8.
func hasMultibyte(src []byte) bool {
	good, bad := 0, 0
	for i := 0; i < len(src); {
		r, size := utf8.DecodeRune(src[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			bad++
		case size > 1:
			good++
		}
		i += size
	}
	return good >= bad && good > 0
}
