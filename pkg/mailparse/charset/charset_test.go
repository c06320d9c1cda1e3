package charset

import "testing"

func TestCharsets(t *testing.T) {
	for _, tt := range []struct {
		label, in, want string
		ok              bool
	}{
		// RFC 2152
		{"utf-7", "A+ImIDkQ.", "A≢Α.", true},
		{"utf-7", "Hi Mom -+Jjo--!", "Hi Mom -☺-!", true},
		{"utf-7", "+ZeVnLIqe-", "日本語", true},
		{"UTF-7", "Item 3 is +AKM-1.", "Item 3 is £1.", true},
		{"utf-7", "1 +- 1", "1 + 1", true},
		{"utf-7", "+2ADdAA-", "\U00010100", true},
		{"utf-7", "+2AA-", "\uFFFD", false},
		{"utf-7", "+3QA-", "\uFFFD", false},
		{"utf-7", "+2ABB-", "\uFFFD", false},
		{"utf-7", "a+!", "a!", false},
		{"utf-7", "\xfc", "\uFFFD", false},
		{"utf-7", "+", "", false},

		{"iso-2022-kr", "\x1b$)C\x0e>H3g\x0f a", "안녕 a", true},
		{"iso-2022-kr", "\x0e>H\n>H", "안\n>H", true},
		{"iso-2022-jp", "\x1b$B2q5D\x1b(B", "会議", true},
		{"iso-2022-jp", "\x1b(I1\x1b(B", "ｱ", true},
		{"utf-16", "\xfe\xff\x04\x3f", "п", true},
		{"utf-16", "\xff\xfe\x3f\x04", "п", true},
		{"utf-16", "\x04\x3f", "п", true},
		{"utf-16le", "\x3f\x04", "п", true},
		{"cp850", "\x81", "ü", true},
		{"ibm437", "\x81", "ü", true},
		{"win-1251", "\xef", "п", true},
		{"windows1251", "\xef", "п", true},
		{"'koi8-r'", "\xd0", "п", true},
		{"gb2312", "\xc4\xe3", "你", true},
		{"iso8859-5", "\xdf", "п", true},
		{"iso-8859-8-i", "\xe0", "א", true},
		{"utf-8", "ü", "ü", true},
		{"utf-8", "abc\xfc", "abcü", false},
		{"default", "abc", "abc", false},
		{"nonsense", "\x80", "€", false},
		{"shift_jis", "\x83", "\uFFFD", false},
		{"iso-2022-cn", "abc", "abc", false},
	} {
		got, ok := ToUTF8([]byte(tt.in), tt.label)
		if got != tt.want || ok != tt.ok {
			t.Errorf("%s %q = %q, %v, want %q, %v", tt.label, tt.in, got, ok, tt.want, tt.ok)
		}
	}
}
