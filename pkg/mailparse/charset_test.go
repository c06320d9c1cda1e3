package mailparse

import "testing"

func TestCharsets(t *testing.T) {
	for _, tt := range []struct{ label, in, want, flags string }{
		// RFC 2152
		{"utf-7", "A+ImIDkQ.", "A≢Α.", ""},
		{"utf-7", "Hi Mom -+Jjo--!", "Hi Mom -☺-!", ""},
		{"utf-7", "+ZeVnLIqe-", "日本語", ""},
		{"UTF-7", "Item 3 is +AKM-1.", "Item 3 is £1.", ""},
		{"utf-7", "1 +- 1", "1 + 1", ""},
		{"utf-7", "+2ADdAA-", "\U00010100", ""},
		{"utf-7", "+2AA-", "\uFFFD", "bad_charset"},
		{"utf-7", "+3QA-", "\uFFFD", "bad_charset"},
		{"utf-7", "+2ABB-", "\uFFFD", "bad_charset"},
		{"utf-7", "a+!", "a!", "bad_charset"},
		{"utf-7", "\xfc", "\uFFFD", "bad_charset"},
		{"utf-7", "+", "", "bad_charset"},

		{"iso-2022-kr", "\x1b$)C\x0e>H3g\x0f a", "안녕 a", ""},
		{"iso-2022-kr", "\x0e>H\n>H", "안\n>H", ""},
		{"iso-2022-jp", "\x1b$B2q5D\x1b(B", "会議", ""},
		{"iso-2022-jp", "\x1b(I1\x1b(B", "ｱ", ""},
		{"utf-16", "\xfe\xff\x04\x3f", "п", ""},
		{"utf-16", "\xff\xfe\x3f\x04", "п", ""},
		{"utf-16", "\x04\x3f", "п", ""},
		{"utf-16le", "\x3f\x04", "п", ""},
		{"cp850", "\x81", "ü", ""},
		{"ibm437", "\x81", "ü", ""},
		{"win-1251", "\xef", "п", ""},
		{"windows1251", "\xef", "п", ""},
		{"'koi8-r'", "\xd0", "п", ""},
		{"gb2312", "\xc4\xe3", "你", ""},
		{"iso8859-5", "\xdf", "п", ""},
		{"iso-8859-8-i", "\xe0", "א", ""},
		{"utf-8", "ü", "ü", ""},
		{"utf-8", "abc\xfc", "abcü", "bad_charset"},
		{"default", "abc", "abc", "bad_charset"},
		{"nonsense", "\x80", "€", "bad_charset"},
		{"shift_jis", "\x83", "\uFFFD", "bad_charset"},
		{"iso-2022-cn", "abc", "abc", "bad_charset"},
	} {
		got, flags := toUTF8([]byte(tt.in), tt.label)
		check(t, tt.label+" "+tt.in, got, tt.want)
		check(t, tt.label+" "+tt.in, flags.String(), tt.flags)
	}
}
