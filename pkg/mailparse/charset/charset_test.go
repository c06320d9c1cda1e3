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
		{"CHINESEBIG5", "\xa7A\xa6n", "你好", true},
		{"johab", "\xd0\x65\x8b\x69 A\xd9\x37\xe0\x31\xf9\xfe\x88\x41\x84\x61", "한글 A¨伽詰ㄱㅏ", true},
		{"ms1361", "\xd0\x65\x84\x41", "한\u3000", true},
		{"johab", "\xd0", "\uFFFD", false},
		{"johab", "\xff\xd0\x65", "\uFFFD한", false},
		{"utf-32", "\x00\x00\x01\x5e\x00\x01\xf6\x00", "Ş😀", true},
		{"utf-32", "\xff\xfe\x00\x00\x5e\x01\x00\x00", "Ş", true},
		{"utf-32le", "\x5e\x01\x00\x00", "Ş", true},
		{"utf-32be", "\x00\x00\x01\x5e", "Ş", true},
		{"iso-10646-ucs-4", "\x00\x00\x01\x5e", "Ş", true},
		{"iso-10646-ucs-2", "\x01\x5e\x00A", "ŞA", true},
		{"iso-10646-ucs-2", "\xff\xfe\x5e\x01", "Ş", true},
		{"csUnicode", "\x01\x5e", "Ş", true},
		{"iso-2022-cn", "abc", "abc", false},
	} {
		got, ok := ToUTF8([]byte(tt.in), tt.label)
		if got != tt.want || ok != tt.ok {
			t.Errorf("%s %q = %q, %v, want %q, %v", tt.label, tt.in, got, ok, tt.want, tt.ok)
		}
	}
}

// TestInHTML: only a meta element declares a charset, however it is written.
func TestInHTML(t *testing.T) {
	for page, want := range map[string]string{
		`<meta charset="big5">`:       "big5",
		`<META CHARSET=BIG5>`:         "big5",
		`<meta charset = 'koi8-r' />`: "koi8-r",
		`<meta http-equiv="Content-Type" content="text/html; charset=big5">`: "big5",
		`<title>charset=wrong</title><meta name=x><meta charset=right>`:      "right",
		`charset=big5`:            "",
		`<meta name="charset" x>`: "",
		`<meta charset=`:          "",
		`<meta charset="ü">`:      "",
		``:                        "",
	} {
		if got := InHTML([]byte(page)); got != want {
			t.Errorf("%s declares %q, want %q", page, got, want)
		}
	}
}
