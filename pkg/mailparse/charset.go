package mailparse

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
)

// charset is a way to turn bytes into UTF-8.
type charset struct {
	// decode is nil for UTF-8, ASCII and everything that says nothing ("DEFAULT", "unknown-8bit").
	decode encoding.Encoding
	custom func([]byte) (text []byte, ok bool)
	// ascii: bytes below 128 are ASCII whatever stands around them.
	ascii bool
	known bool
}

// findCharset knows the labels browsers know (they are what senders mean, e.g. iso-8859-1 is really
// windows-1252), then those of the IANA registry, and some that are in neither.
func findCharset(label string) charset {
	label = strings.ToLower(strings.Trim(label, " \t\"'<>;"))
	switch label {
	case "", "utf-8", "utf8", "us-ascii", "ascii", "ansi_x3.4-1968", "7bit", "8bit", "binary":
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
		return charset{decode: unicode.UTF16(unicode.BigEndian, unicode.UseBOM), known: true}
	case "cp932":
		return charset{decode: japanese.ShiftJIS, known: true}
	case "cp936", "gb18030-2000", "gbk2312", "gb_2312-80", "eucgb2312_cn": // the last is Python's name
		return charset{decode: simplifiedchinese.GB18030, ascii: true, known: true}
	case "cp949", "uhc", "ksc5601", "ks_c_5601":
		return charset{decode: korean.EUCKR, ascii: true, known: true}
	case "cp950", "big-5", "big5_tw":
		return charset{decode: traditionalchinese.Big5, ascii: true, known: true}
	case "koi8-ru":
		return charset{decode: charmap.KOI8U, ascii: true, known: true}
	}
	return findRegistered(label)
}

func findRegistered(label string) charset {
	repaired := strings.NewReplacer("win-", "windows-", "windows1", "windows-1", "iso8859", "iso-8859").Replace(label)
	for _, try := range []string{label, repaired} {
		e, err := htmlindex.Get(try)
		if err != nil || e == encoding.Replacement {
			e, err = ianaindex.MIME.Encoding(try)
		}
		if err == nil && e != nil && e != encoding.Replacement {
			if e == unicode.UTF8 {
				return charset{ascii: true, known: true}
			}
			_, oneByte := e.(*charmap.Charmap)
			return charset{decode: e, ascii: oneByte && e != charmap.CodePage037 && e != charmap.CodePage1047 && e != charmap.CodePage1140, known: true}
		}
	}
	return charset{ascii: true}
}

// toUTF8 converts text in a declared charset. The declaration is believed as far as it works out.
func toUTF8(src []byte, label string) (string, Flags) {
	c := findCharset(label)
	var flags Flags
	if !c.known {
		flags = BadCharset
	}
	switch {
	case c.ascii && isASCII(src):
		return string(src), flags
	case c.custom != nil:
		text, ok := c.custom(src)
		if !ok {
			flags |= BadCharset
		}
		return string(text), flags
	case c.decode == nil:
		text, more := guessText(src, "")
		if strings.EqualFold(label, "us-ascii") {
			more |= BadCharset // 8-bit bytes were announced as ASCII
		}
		return text, flags | more
	}
	out, err := c.decode.NewDecoder().Bytes(src)
	if err != nil {
		return strings.ToValidUTF8(string(src), "\uFFFD"), BadCharset
	}
	if bytes.Contains(out, []byte("\uFFFD")) {
		flags |= BadCharset
	}
	return string(out), flags
}

// guessText converts text that declares no charset of its own: UTF-8 if it is, then the charset the mail
// declares elsewhere, then windows-1252, in which every text makes some sense.
func guessText(src []byte, hint string) (string, Flags) {
	if isJIS(src) {
		return toUTF8(src, "iso-2022-jp")
	}
	if utf8.Valid(src) {
		return string(src), 0
	}
	if c := findCharset(hint); c.decode != nil {
		text, flags := toUTF8(src, hint)
		return text, flags
	}
	if hasMultibyte(src) {
		// UTF-8 with damage: keep the rest readable.
		return strings.ToValidUTF8(string(src), "\uFFFD"), BadCharset
	}
	out := make([]byte, 0, len(src)+len(src)/2)
	for _, b := range src {
		out = utf8.AppendRune(out, charmap.Windows1252.DecodeByte(b))
	}
	return string(out), BadCharset
}

// isJIS recognises ISO-2022-JP sent raw in headers and bodies without a charset: ESC $ or ESC ( begin
// its escape sequences (RFC 1468).
func isJIS(src []byte) bool {
	i := bytes.IndexByte(src, 0x1b)
	return i >= 0 && i+2 < len(src) && (src[i+1] == '$' || src[i+1] == '(') && isASCII(src)
}

func isASCII(src []byte) bool {
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
