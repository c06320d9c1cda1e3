package mailparse

import (
	"strings"
	"testing"
)

func TestDecodeText(t *testing.T) {
	tests := []struct{ name, in, want, flags string }{
		// RFC 2047 section 8, where the parentheses are those of comments
		{"8.1", "=?ISO-8859-1?Q?a?=", "a", ""},
		{"8.2", "=?ISO-8859-1?Q?a?= b", "a b", ""},
		{"8.3", "=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab", ""},
		{"8.4", "=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=", "ab", ""},
		{"8.5", "=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=", "ab", ""},
		{"8.6", "=?ISO-8859-1?Q?a_b?=", "a b", ""},
		{"8.7", "=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b", ""},
		{"8 header", "=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
			"If you can read this you understand the example.", ""},

		{"plain", "Hello", "Hello", ""},
		{"empty", "", "", ""},
		{"unfolding", "a\r\n b\r\n\tc", "a b c", ""},
		{"fold without CR", "a\n b", "a b", ""},
		{"language (RFC 2231 section 5)", "=?us-ascii*en-us?Q?hi?=", "hi", ""},
		{"letters in any case", "=?UTF-8?b?4pi6?= =?utf-8?q?=e2=98=ba?=", "☺☺", ""},
		{"glued to text", "x=?utf-8?q?y?=z", "xyz", ""},
		{"in quotes", `"=?utf-8?q?J=C3=BCrgen?=" <j@example.com>`, `"Jürgen" <j@example.com>`, ""},
		{"no space between words", "=?utf-8?q?a?==?utf-8?q?b?=", "ab", ""},
		{"split character", "=?utf-8?q?=E2=98?= =?utf-8?q?=BA?=", "☺", ""},
		{"split character between B and Q", "=?utf-8?b?4pg=?=\r\n =?utf-8?q?=BA?=", "☺", ""},
		{"split group of four", "=?utf-8?b?4pi?= =?utf-8?b?64pi6?=", "☺☺", ""},
		{"no padding", "=?utf-8?b?YQ?= =?utf-8?b?YQ?=", "aa", ""},
		{"too much padding", "=?utf-8?b?YQ====?=", "a", ""},
		{"space in Q", "=?utf-8?q?a b c?=", "a b c", ""},
		{"folded inside a word", "=?utf-8?q?a\r\n b?=", "a b", ""},
		{"space in B", "=?utf-8?b?4pi 6?=", "☺", ""},
		{"question mark in Q", "=?utf-8?q?what??=", "what?", ""},
		{"question marks in Q", "=?utf-8?q?a?b?c?=", "a?b?c", ""},
		{"empty word", "=?utf-8?q??=x", "x", ""},
		{"bad escape", "=?utf-8?q?100=%_=4?=", "100=% =4", "bad_encoding"},
		{"junk in B", "=?utf-8?b?4p*i6?=", "☺", "bad_encoding"},
		{"never closed", "=?utf-8?q?abc", "=?utf-8?q?abc", ""},
		{"never closed, then a good one", "=?utf-8?q?abc =?utf-8?q?d?=", "=?utf-8?q?abc d", ""},
		{"unknown encoding", "=?utf-8?x?abc?=", "=?utf-8?x?abc?=", ""},
		{"no word", "a =? b ?= c", "a =? b ?= c", ""},
		{"unknown charset", "=?x-klingon?q?abc?=", "abc", "bad_charset"},
		{"unknown charset, really UTF-8", "=?unknown-8bit?q?=C3=BC?=", "ü", "bad_charset"},
		{"DEFAULT, really windows-1252", "=?DEFAULT?q?=FC=80?=", "ü€", "bad_charset"},
		{"latin-1 as senders mean it", "=?iso-8859-1?q?=80?=", "€", ""},
		{"wrong UTF-8, mostly right", "=?utf-8?q?=C3=BC=C3=BC=FC?=", "üü\uFFFD", "bad_charset"},
		{"UTF-8 that is windows-1252", "=?utf-8?q?M=FCller?=", "Müller", "bad_charset"},
		{"8-bit called ASCII", "=?us-ascii?q?M=FCller?=", "Müller", "bad_charset"},
		{"raw UTF-8", "Grüße", "Grüße", ""},
		{"raw windows-1252", "Gr\xfc\xdfe", "Grüße", "bad_charset"},
		{"raw ISO-2022-JP", "\x1b$B2q5D\x1b(B", "会議", ""},
		{"raw and encoded", "Gr\xfc\xdfe =?utf-8?q?=C3=BC?=", "Grüße ü", "bad_charset"},
		{"header injection", "=?utf-8?q?a=0D=0ABcc:_x=00?=", "a  Bcc: x", ""},
		{"control characters", "a\x00b\x7fc\td", "a b c d", ""},
		{"C1 controls and line separators", "=?utf-8?q?a=C2=85b=E2=80=A8c?=", "a b c", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, flags := decodeText([]byte(tt.in), "", 1000)
			check(t, "text", got, tt.want)
			check(t, "flags", flags.String(), tt.flags)
		})
	}
}

func TestRawTextUsesTheDeclaredCharset(t *testing.T) {
	got, flags := decodeText([]byte("\xd0\xd2\xc9\xd7\xc5\xd4"), "koi8-r", 100)
	check(t, "text", got, "привет")
	check(t, "flags", flags, 0)
	got, _ = decodeText([]byte("привет"), "koi8-r", 100) // UTF-8 is tried first
	check(t, "text", got, "привет")
}

func TestLongTextIsCutBetweenCharacters(t *testing.T) {
	for limit := range 12 {
		got, flags := decodeText([]byte("=?utf-8?q?=E2=98=BA=E2=98=BA=E2=98=BA?="), "", limit)
		check(t, "flags", flags.Has(Cut), limit < 9)
		if len(got) > limit || !strings.HasPrefix("☺☺☺", got) {
			t.Errorf("limit %d: %q", limit, got)
		}
	}
}

func TestParam(t *testing.T) {
	tests := []struct{ name, value, want string }{
		{"token", "a/b; x=y", "y"},
		{"case", "a/b; X=y", "y"},
		{"quoted", `a/b; x="y z; x=2"`, "y z; x=2"},
		{"escapes", `a/b; x="y\"\\z"`, `y"\z`},
		{"Windows path", `a/b; x="C:\dir\f.txt"`, `C:\dir\f.txt`},
		{"spaces around =", `a/b; x = "y"`, "y"},
		{"no semicolon before", `a/b x=y`, "y"},
		{"empty pieces", `a/b;; ;x=y;`, "y"},
		{"word without a value", `a/b; flag; x=y`, "y"},
		{"unquoted with spaces", `a/b; x=my file.pdf; z=1`, "my file.pdf"},
		{"unquoted with parentheses", `a/b; x=(1).pdf`, "(1).pdf"},
		{"comment", `a/b (c; x=no) ; x=y`, "y"},
		{"never closed quote", `a/b; x="y; z=1`, "y"},
		{"empty quotes", `a/b; x=""; x=z`, ""},
		{"first counts", `a/b; x=1; x=2`, "1"},
		{"folded", "a/b;\r\n\tx=\"y\r\n z\"", "y z"},
		{"longer name", "a/b; xx=1; x=2", "2"},
		{"missing", "a/b; y=1", ""},
		{"encoded word", `a/b; x="=?utf-8?q?=C3=BC?="`, "ü"},
		{"raw UTF-8", `a/b; x="ü"`, "ü"},
		{"raw windows-1252", "a/b; x=\"\xfc\"", "ü"},
		// RFC 2231
		{"section 3", "message/external-body; x*0=\"ftp://\";\r\n x*1=\"cs.utk.edu/pub\"", "ftp://cs.utk.edu/pub"},
		{"section 4", "a/b; x*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A", "This is ***fun***"},
		{"section 4.1", "a/b; x*0*=us-ascii'en'This%20is%20even%20more%20;\r\n x*1*=%2A%2A%2Afun%2A%2A%2A%20; x*2=\"isn't it!\"",
			"This is even more ***fun*** isn't it!"},
		{"character split between segments", "a/b; x*0*=utf-8''%E2%98; x*1*=%BA", "☺"},
		{"out of order", "a/b; x*1=b; x*0=a", "ab"},
		{"segment twice", "a/b; x*0=a; x*0=q; x*1=b", "ab"},
		{"from 1", "a/b; x*1=a; x*2=b", "ab"},
		{"ten segments", "a/b; x*10=k; x*0=a; x*1=b; x*2=c; x*3=d; x*4=e; x*5=f; x*6=g; x*7=h; x*8=i; x*9=j", "abcdefghijk"},
		{"extended wins", "a/b; x=old; x*=utf-8''%C3%BC", "ü"},
		{"without charset", "a/b; x*=%C3%BC", "ü"},
		{"bad percent", "a/b; x*=utf-8''100%; y=1", "100%"},
		{"quoted extended", `a/b; x*="utf-8''%C3%BC"`, "ü"},
		{"empty extended", "a/b; x*=", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := param([]byte(tt.value), "x").text("", 1000)
			check(t, "x", got, tt.want)
		})
	}
	many := []byte("a/b" + strings.Repeat("; y=1", MaxParams) + "; x=2")
	check(t, "parameter beyond the limit", param(many, "x").found, false)
	check(t, "parameter within the limit", param(many[len("; y=1"):], "x").found, true)
}

func TestMediaType(t *testing.T) {
	for in, want := range map[string]string{
		"text/plain": "text/plain", "Text/HTML;charset=x": "text/html", " text/css ": "text/css", "(c) text/xml": "text/xml",
		"image/png\r\n\tname=x": "image/png", "text": "", "/plain": "", "text/": "", "": "", "te xt/plain": "", "text/pl\xfcin": "",
		`text/html"`: "text/html", strings.Repeat("a", 100) + "/" + strings.Repeat("b", 100): "",
	} {
		got, ok := mediaType([]byte(in))
		check(t, in, got, want)
		check(t, in, ok, want != "")
	}
}
