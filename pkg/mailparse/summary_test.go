package mailparse

import (
	"strings"
	"testing"
	"time"
)

func TestSummaryOfBrokenMail(t *testing.T) {
	tests := []struct {
		name, mail string
		want       Summary
	}{
		{"nothing", "", Summary{ContentType: "text/plain"}},
		{"first field counts", "Subject: 1\nSubject: 2\nFrom: a\nFROM: b\n\n", Summary{Subject: "1", From: "a", ContentType: "text/plain"}},
		{"no brackets", "Message-Id: a@b\n\n", Summary{MessageID: "a@b", ContentType: "text/plain"}},
		{"folded id", "Message-ID:\n <a@b> (comment)\n\n", Summary{MessageID: "a@b", ContentType: "text/plain"}},
		{"bad date", "Date: yesterday\n\n", Summary{ContentType: "text/plain", Flags: BadDate}},
		{"charset of the inner text", mixedB + "--b\nContent-Type: image/png\n\n--b\nContent-Type: text/html; charset=KOI8-R\n\n--b--\n",
			Summary{ContentType: "multipart/mixed", Charset: "koi8-r", HasAttachment: true}},
		{"fields of parts are not the mail's", mixedB + "--b\nSubject: inner\n\n--b--\n", Summary{ContentType: "multipart/mixed"}},
		{"header in the body", "A: b\n\nSubject: x\n", Summary{ContentType: "text/plain"}},
	}
	for _, tt := range tests {
		check(t, tt.name, Summarise([]byte(crlf(tt.mail))), tt.want)
	}
}

func TestSummaryTextIsBounded(t *testing.T) {
	s := Summarise([]byte("Subject: " + strings.Repeat("ü", 100000) + "\r\n\r\n"))
	check(t, "length", len(s.Subject), MaxSummaryText)
	check(t, "flags", s.Flags, Cut)
}

func TestParseDate(t *testing.T) {
	at := func(s string) time.Time {
		tm, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return tm.UTC()
	}
	for in, want := range map[string]string{
		"Fri, 21 Nov 1997 09:55:06 -0600":                                       "1997-11-21T15:55:06Z", // RFC 5322 appendix A
		"Tue, 1 Jul 2003 10:52:37 +0200":                                        "2003-07-01T08:52:37Z",
		"Thu,\r\n 13\r\n  Feb\r\n 1969\r\n 23:32\r\n -0330 (Newfoundland Time)": "1969-02-14T03:02:00Z",
		"21 Nov 97 09:55:06 GMT":                                                "1997-11-21T09:55:06Z",
		"21 Nov 26 09:55 EST":                                                   "2026-11-21T14:55:00Z",
		"1 Jan 101 00:00:00 +0000":                                              "2001-01-01T00:00:00Z",
		"Mon Jan  2 15:04:05 2006":                                              "2006-01-02T15:04:05Z",
		"Mon Jan  2 15:04:05 MST 2006":                                          "2006-01-02T22:04:05Z",
		"Monday, 02-Jan-06 15:04:05 PDT":                                        "2006-01-02T22:04:05Z",
		"2006-01-02T15:04:05+01:00":                                             "2006-01-02T14:04:05Z",
		"2006-01-02 15:04:05.123 +0100":                                         "2006-01-02T14:04:05Z",
		"Mon, 2 Jan 2006 15:04:05 +01:00":                                       "2006-01-02T14:04:05Z",
		"Mon, 2 Jan 2006 03:04:05 PM":                                           "2006-01-02T15:04:05Z",
		"Mon,2 Jan 2006 15:04:05 +0100 (CET)":                                   "2006-01-02T14:04:05Z",
		"2 January 2006 15:04:05 UT":                                            "2006-01-02T15:04:05Z",
		"Sat, 31 Dec 2016 23:59:60 +0000":                                       "2017-01-01T00:00:00Z",
		"02 Jan 2006":                                                           "2006-01-02T00:00:00Z",
		"29 Feb 2024 00:00:00 +0000":                                            "2024-02-29T00:00:00Z",
		"31 Feb 2024 00:00:00 +0000":                                            "",
		"Mon, 2 Jan 2006 25:04:05":                                              "",
		"Mon, 2 Jan 2006 15:61":                                                 "",
		"2 Foo 2006 10:00:00":                                                   "",
		"2 Jan 0006 10:00:00":                                                   "",
		"31 Dec 9999 23:00:00 -0500":                                            "",
		"":                                                                      "",
		"(":                                                                     "",
		"-":                                                                     "",
		":":                                                                     "",
		"0-0-0":                                                                 "",
		strings.Repeat("1 ", 1000):                                              "",
	} {
		got, ok := parseDate([]byte(in))
		check(t, in, ok, want != "")
		if want != "" {
			check(t, in, got, at(want))
		}
	}
}

func TestFlagNames(t *testing.T) {
	check(t, "none", Flags(0).String(), "")
	check(t, "all", (Cut<<1 - 1).String(), "bad_header,missing_boundary,unclosed,truncated,deep,too_many_parts,"+
		"header_too_big,bad_encoding,bad_charset,bad_date,cut")
	check(t, "beyond", (Cut << 1).String(), "unknown")
}
