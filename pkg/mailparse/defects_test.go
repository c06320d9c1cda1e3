package mailparse

import (
	"strings"
	"testing"
)

// TestWhatCountsAsAnAttachment has the mails that outside tests found shown with a paper clip, and the ones
// beside them that must keep theirs.
func TestWhatCountsAsAnAttachment(t *testing.T) {
	const pdf = "--b\nContent-Type: application/pdf; name=a.pdf\nContent-Disposition: attachment\n\n%PDF\n"
	signed := func(signature string) string {
		return "Content-Type: multipart/signed; boundary=b\n\n--b\n\nhello\n--b\n" + signature + "\n\nMIAG\n--b--\n"
	}
	report := func(returned string) string {
		return "Content-Type: multipart/report; report-type=delivery-status; boundary=r\n\n--r\n\nIt bounced.\n" +
			"--r\nContent-Type: message/delivery-status\nContent-Disposition: attachment\n\nAction: failed\n--r\n" + returned + "\n--r--\n"
	}
	apple := func(image string) string {
		return mixedB + "--b\nContent-Type: text/html\n\n<p>one<img src=cid:i@x>\n--b\n" + image + "\n\nGIF\n--b\nContent-Type: text/html\n\n<p>two\n--b--\n"
	}
	for _, tt := range []struct {
		name, mail string
		want       bool
	}{
		{"S/MIME signature", signed("Content-Type: application/pkcs7-signature; name=smime.p7s\nContent-Disposition: attachment; filename=smime.p7s"), false},
		{"old S/MIME signature", signed("Content-Type: application/x-pkcs7-signature; name=smime.p7s\nContent-Disposition: attachment; filename=smime.p7s"), false},
		{"PGP signature", signed("Content-Type: application/pgp-signature; name=signature.asc\nContent-Disposition: attachment; filename=signature.asc"), false},
		{"signed, with a file", "Content-Type: multipart/signed; boundary=s\n\n--s\n" + mixedB + pdf + "--b--\n--s\nContent-Type: application/pgp-signature\n\nx\n--s--\n", true},
		{"detached signature sent as a file", mixedB + "--b\nContent-Type: application/pgp-signature; name=a.tar.asc\nContent-Disposition: attachment\n\nx\n--b--\n", true},
		{"bounce with the original and its file", report("Content-Type: message/rfc822\n\nSubject: old\n" + mixedB + pdf + "--b--\n"), false},
		{"bounce with the original, marked as a file", report("Content-Type: message/rfc822\nContent-Disposition: attachment\n\nSubject: old\n\nhello\n"), false},
		{"bounce with the header only", report("Content-Type: text/rfc822-headers; name=header.txt\nContent-Disposition: attachment\n\nSubject: old\n"), false},
		{"bounce with a file of its own", report("Content-Type: application/pdf\nContent-Disposition: attachment\n\nx"), true},
		{"forwarded mail", mixedB + "--b\nContent-Type: message/rfc822\n\nSubject: old\n\nhello\n--b--\n", true},
		{"Apple's inline image", apple("Content-Type: image/gif; name=i.gif\nContent-Disposition: inline; filename=i.gif\nContent-Id: <i@x>"), false},
		{"image for download beside a page", apple("Content-Type: image/gif; name=i.gif\nContent-Disposition: attachment; filename=i.gif\nContent-Id: <i@x>"), true},
		{"image that no page can show", mixedB + "--b\n\nplain\n--b\nContent-Type: image/gif\nContent-Disposition: inline\nContent-Id: <i@x>\n\nGIF\n--b--\n", true},
		{"inline image without an id", apple("Content-Type: image/gif; name=i.gif\nContent-Disposition: inline; filename=i.gif"), true},
	} {
		check(t, tt.name, Summarise([]byte(crlf(tt.mail))).HasAttachment, tt.want)
	}
}

// TestFirstFieldCountsEvenIfEmpty: a reader shows an empty subject, so the list must not show the second one.
func TestFirstFieldCountsEvenIfEmpty(t *testing.T) {
	s := Summarise([]byte(crlf("Subject:\nFrom: \nMessage-ID:\nSubject: second\nFrom: second\nMessage-ID: <second>\n" +
		"Date: never\nDate: Fri, 21 Nov 1997 09:55:06 -0600\n\n")))
	check(t, "subject", s.Subject, "")
	check(t, "from", s.From, "")
	check(t, "message id", s.MessageID, "")
	check(t, "date", s.Date.IsZero(), true)
}

// TestPageDeclaresTheCharset: a page that names its charset only in itself is read with it, and so is what else
// the mail has in raw 8-bit text.
func TestPageDeclaresTheCharset(t *testing.T) {
	const hello = "\xa7A\xa6n" // Big5 for 你好
	for _, meta := range []string{
		`<meta charset="big5">`, `<META CHARSET=BIG5>`, `<meta http-equiv="Content-Type" content="text/html; charset=big5">`,
		`<html><head><title>charset= is a word</title><meta charset = 'CHINESEBIG5'/>`,
	} {
		for _, declared := range []string{"text/html", "text/html; charset=us-ascii", "text/html; charset=unknown-8bit"} {
			m := Index([]byte(crlf("Subject: "+hello+"\nContent-Type: "+declared+"\n\n") + meta + hello))
			s := m.Summary()
			check(t, meta+" subject, "+declared, s.Subject, "你好")
			_, page, _ := m.Bodies(1000)
			check(t, meta+" page, "+declared, strings.TrimPrefix(page, meta), "你好")
		}
	}
	m := Index([]byte(crlf("Subject: " + hello + "\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\n" + hello + "\n--b\n" +
		"Content-Type: text/html\nContent-Transfer-Encoding: base64\n\nPG1ldGEgY2hhcnNldD1iaWc1Pqc=\n--b--\n")))
	check(t, "subject", m.Summary().Subject, "你好")
	check(t, "charset", m.Summary().Charset, "big5")
	plain, _, _ := m.Bodies(1000)
	check(t, "plain text beside the page", plain, "你好")
}

// TestRareCharsets has labels that neither browsers nor the tables of the Go project know as mail means them.
func TestRareCharsets(t *testing.T) {
	for _, tt := range []struct{ label, in, want string }{
		{"CHINESEBIG5", "\xa7A\xa6n", "你好"},
		{"johab", "\xd0\x65\x8b\x69 A\xd9\x37\xe0\x31\xf9\xfe\x88\x41\x84\x61", "한글 A¨伽詰ㄱㅏ"},
		{"ms1361", "\xd0\x65", "한"},
		{"utf-32", "\x00\x00\x01\x5e\x00\x01\xf6\x00", "Ş😀"},
		{"utf-32", "\xff\xfe\x00\x00\x5e\x01\x00\x00", "Ş"},
		{"utf-32le", "\x5e\x01\x00\x00", "Ş"},
		{"utf-32be", "\x00\x00\x01\x5e", "Ş"},
		{"iso-10646-ucs-4", "\x00\x00\x01\x5e", "Ş"},
		{"iso-10646-ucs-2", "\x01\x5e\x00A", "ŞA"},
		{"iso-10646-ucs-2", "\xff\xfe\x5e\x01", "Ş"},
		{"csUnicode", "\x01\x5e", "Ş"},
	} {
		text, flags := part(t, "Content-Type: text/plain; charset="+tt.label+"\n", tt.in).Text(100)
		check(t, tt.label, text, tt.want)
		check(t, tt.label, flags, 0)
	}
}
