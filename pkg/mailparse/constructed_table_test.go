package mailparse

import (
	"fmt"
	"strings"
)

// textMails are single texts: charsets and transfer encodings.
func textMails() (table []constructed) {
	for _, c := range []struct{ label, bytes, text string }{
		{"us-ascii", "plain text", "plain text"},
		{"utf-8", "Grüße ☃", "Grüße ☃"},
		{"iso-8859-1", "Gr\xfc\xdfe", "Grüße"},
		{"iso-8859-15", "50 \xa4", "50 €"},
		{"iso-8859-2", "\xa3\xf3d\xbc", "Łódź"},
		{"windows-1251", "\xcf\xf0\xe8\xe2\xe5\xf2", "Привет"},
		{"koi8-r", "\xf0\xd2\xc9\xd7\xc5\xd4", "Привет"},
		{"iso-8859-7", "\xca\xe1\xeb\xe7", "Καλη"},
		{"windows-1255", "\xf9\xec\xe5\xed", "שלום"},
		{"windows-1256", "\xe3\xd1\xcd\xc8\xc7", "مرحبا"},
		{"tis-620", "\xca\xc7\xd1\xca\xb4\xd5", "สวัสดี"},
		{"iso-2022-jp", "\x1b$B2q5D\x1b(B", "会議"},
		{"shift_jis", "\x89\xef\x8bc", "会議"},
		{"euc-jp", "\xb2\xf1\xb5\xc4", "会議"},
		{"gb2312", "\xc4\xe3\xba\xc3", "你好"},
		{"gb18030", "\x95\x32\x82\x36", "𠀀"},
		{"big5", "\xa7A\xa6n", "你好"},
		{"euc-kr", "\xc7\xd1\xb1\xdb", "한글"},
		{"johab", "\xd0\x65\x8b\x69", "한글"},
		{"utf-7", "+ZeVnLIqe-", "日本語"},
	} {
		for _, kind := range []string{"plain", "html"} {
			for _, encoding := range []string{"", "base64", "quoted-printable"} {
				n := leaf(RoleText, "text/"+kind+"; charset="+strings.ToUpper(c.label), c.bytes+"\n").as(encoding)
				n.charset = c.label
				mail := constructed{name: c.label + " " + kind + " " + encoding, root: n, plain: c.text + "\n"}
				if kind == "html" {
					mail.plain, mail.html = "", mail.plain
				}
				table = append(table, mail)
			}
		}
	}
	return table
}

// namedMails are attachments whose name is written in each way that senders use.
func namedMails() (table []constructed) {
	for _, c := range []struct{ name, typeParams, disposition string }{
		{"a.pdf", "; name=a.pdf", "attachment; filename=a.pdf"},
		{"a b.pdf", "; name=\"a b.pdf\"", "attachment; filename=\"a b.pdf\""},
		{"a.pdf", "", "attachment; filename=a.pdf"},
		{"a.pdf", "; name=a.pdf", "attachment"},
		{"a \"b\".pdf", "", "attachment; filename=\"a \\\"b\\\".pdf\""},
		{"a;b.pdf", "", "attachment; filename=\"a;b.pdf\""},
		{"Prüfung.pdf", "", "attachment; filename*=utf-8'de'Pr%C3%BCfung.pdf"},
		{"Prüfung.pdf", "; name=other.pdf", "attachment; filename=Pr.pdf; filename*=iso-8859-1''Pr%FCfung.pdf"},
		{"a long name of a file.pdf", "", "attachment;\n filename*0=\"a long name \";\n filename*1=\"of a file.pdf\""},
		{"ein Prüfbericht.pdf", "", "attachment;\n filename*0*=utf-8''ein%20Pr%C3;\n filename*1*=%BCfbericht;\n filename*2=.pdf"},
		{"Grüße.pdf", "; name=\"=?utf-8?q?Gr=C3=BC=C3=9Fe?=.pdf\"", "attachment; filename=\"=?utf-8?q?Gr=C3=BC=C3=9Fe?=.pdf\""},
		{"会議.pdf", "; name=\"=?iso-2022-jp?b?GyRCMnE1RBsoQi5wZGY=?=\"", "attachment"},
		{"Grüße.pdf", "", "attachment; filename=\"Grüße.pdf\""},
		{"(1).pdf", "", "attachment; filename=(1).pdf"},
		{"a.pdf", "", "ATTACHMENT;FILENAME=a.pdf;size=3"},
		{"", "", "attachment"},
	} {
		for _, mediaType := range []string{"application/pdf", "image/png"} {
			n := leaf(RoleAttachment, mediaType+c.typeParams, "%PDF\n\x00").with("Content-Disposition: " + c.disposition + "\n").as("base64").named(c.name)
			table = append(table, constructed{
				name: fmt.Sprintf("named %d %s", len(table), mediaType), root: multi("mixed", text("see attached"), n), plain: "see attached"})
		}
	}
	return table
}

// structuredMails are the shapes that mail programs and gateways send.
func structuredMails() []constructed {
	alternative := func() node { return multi("alternative", text("plain"), html("<p>page")) }
	pdf := file("application/pdf", "a.pdf")
	machine := func(contentType, data string) node { return leaf(RoleMachine, contentType, data) }
	signature := func(mediaType, name string) node {
		return file(mediaType, name).is(RoleMachine)
	}
	status := machine("message/delivery-status", "Reporting-MTA: dns; x\n\nAction: failed\n")
	invitation := leaf(RoleMachine, "text/calendar; charset=utf-8; method=REQUEST", "BEGIN:VCALENDAR")
	invitation.charset = "utf-8"
	bare := node{data: "no header of its own", mediaType: "text/plain", role: RoleText}
	return []constructed{
		{"only text", text("hello"), "hello", ""},
		{"only a page", html("<p>"), "", "<p>"},
		{"only a file", pdf, "", ""},
		{"nothing declared", bare, "no header of its own", ""},
		{"alternative", alternative(), "plain", "<p>page"},
		{"page first", multi("alternative", html("<p>"), text("plain")), "plain", "<p>"},
		{"with a file", multi("mixed", text("hi"), pdf), "hi", ""},
		{"file before the text", multi("mixed", pdf, text("hi")), "hi", ""},
		{"alternative with a file", multi("mixed", alternative(), pdf), "plain", "<p>page"},
		{"three files", multi("mixed", alternative(), pdf, file("image/jpeg", "b.jpg"), file("text/csv", "c.csv")), "plain", "<p>page"},
		{"text around a file", multi("mixed", text("one "), pdf, text("two")), "one two", ""},
		{"list footer", multi("mixed", multi("mixed", alternative(), pdf), text("\n-- \nlist")), "plain\n-- \nlist", "<p>page"},
		{"part without a header", multi("mixed", bare, pdf), "no header of its own", ""},
		{"patch without a name", multi("mixed", text("see "), leaf(RoleText, "text/x-patch", "+a")), "see +a", ""},
		{"inline text with a name", multi("mixed", text("see"), leaf(RoleAttachment, "text/plain; name=a.txt", "a").with("Content-Disposition: inline; filename=a.txt\n").named("a.txt")), "see", ""},
		{"invitation", multi("alternative", text("come"), html("<p>come"), invitation), "come", "<p>come"},
		{"invitation and its file", multi("mixed", multi("alternative", text("come"), invitation), file("application/ics", "invite.ics")), "come", ""},
		{"AMP", multi("alternative", text("a"), machine("text/x-amp-html", "<html amp>"), html("<p>a")), "a", "<p>a"},
		{"winmail.dat", multi("mixed", text("a"), file("application/ms-tnef", "winmail.dat")), "a", ""},
		{"S/MIME signed", multi("signed", text("a"), signature("application/pkcs7-signature", "smime.p7s")), "a", ""},
		{"S/MIME signed, old type, page", multi("signed", alternative(), signature("application/x-pkcs7-signature", "smime.p7s")), "plain", "<p>page"},
		{"S/MIME signed with a file", multi("signed", multi("mixed", text("a"), pdf), signature("application/pkcs7-signature", "smime.p7s")), "a", ""},
		{"S/MIME opaque", file("application/pkcs7-mime", "smime.p7m"), "", ""},
		{"PGP signed", multi("signed", text("a"), signature("application/pgp-signature", "signature.asc")), "a", ""},
		{"PGP encrypted", multi("encrypted", machine("application/pgp-encrypted", "Version: 1").with("Content-Disposition: attachment\n"), file("application/octet-stream", "encrypted.asc")), "", ""},
		{"PGP key sent along", multi("mixed", text("a"), file("application/pgp-keys", "key.asc")), "a", ""},
		{"signature of a file", multi("mixed", text("a"), file("application/pgp-signature", "a.tar.asc")), "a", ""},
		{"bounce", multi("report", text("failed"), status, attached(RoleMachine, text("original"))), "failed", ""},
		{"bounce of a mail with a file", multi("report", text("failed"), status, attached(RoleMachine, multi("mixed", text("original"), pdf))), "failed", ""},
		{"bounce with the header", multi("report", text("failed"), status, machine("text/rfc822-headers", "Subject: x\n")), "failed", ""},
		{"bounce with pictures", multi("report", multi("related", html("<img src=cid:i@x>"), picture("image/gif", "i@x")), status, attached(RoleMachine, text("o"))), "", "<img src=cid:i@x>"},
		{"read receipt", multi("report", text("read"), machine("message/disposition-notification", "Disposition: displayed\n")), "read", ""},
		{"abuse report", multi("report", text("spam"), machine("message/feedback-report", "Feedback-Type: abuse\n"), attached(RoleMachine, html("<p>"))), "spam", ""},
		{"forwarded as a file", multi("mixed", text("fwd"), attached(RoleAttachment, multi("mixed", text("inner"), pdf))), "fwd", ""},
		{"forwarded twice", multi("mixed", text("fwd"), attached(RoleAttachment, multi("mixed", text("b"), attached(RoleAttachment, html("<p>c"))))), "fwd", ""},
		{"mail that is a message", attached(RoleAttachment, text("inner")), "", ""},
		{"digest", multi("digest", attached(RoleAttachment, text("one")), attached(RoleAttachment, text("two"))), "", ""},
		{"unknown multipart", multi("x-future", text("a"), pdf), "a", ""},
		{"file declared as a page", multi("mixed", text("a"), file("text/html", "page.html")), "a", ""},
		{"quoted-printable file", multi("mixed", text("a"), file("text/xml", "a.xml").as("quoted-printable")), "a", ""},
	}
}

// pictureMails have inline images: where they stand decides how they are shown.
func pictureMails() (table []constructed) {
	for _, mediaType := range []string{"image/png", "image/jpeg", "image/gif", "image/svg+xml"} {
		page := html("<img src=\"cid:one@x\"><img src=\"cid:two@x\">")
		one, two := picture(mediaType, "one@x"), picture(mediaType, "two@x")
		named := picture(mediaType, "one@x").with("Content-Disposition: inline; filename=one\n").named("one")
		download := picture(mediaType, "one@x").with("Content-Disposition: attachment; filename=one\n").named("one").is(RoleAttachment)
		beside := leaf(RoleAttachment, mediaType, "x").with("Content-Disposition: inline; filename=b\n").named("b")
		for name, root := range map[string]node{
			"related":                     multi("related", page, one, two),
			"related, named":              multi("related", page, named, two),
			"related in alternative":      multi("alternative", multi("related", page, one, two)),
			"alternative in related":      multi("related", multi("alternative", page), one, two),
			"related in mixed":            multi("mixed", multi("related", page, one), beside),
			"Apple's mixed":               multi("mixed", page, named),
			"picture before the page":     multi("mixed", named, page),
			"for download":                multi("mixed", page, download),
			"for download, named twice":   multi("mixed", multi("related", page, two), download),
			"without an id beside a page": multi("mixed", page, beside),
		} {
			table = append(table, constructed{name: mediaType + " " + name, root: root, html: page.data})
		}
		table = append(table, constructed{mediaType + " without a page", multi("mixed", text("a"), named.is(RoleAttachment)), "a", ""})
	}
	return table
}

// boundaryMails have boundaries that are hard to write or to find.
func boundaryMails() (table []constructed) {
	for _, c := range []struct{ boundary, written string }{
		{"b", "b"}, {"b", "\"b\""}, {"b c", "\"b c\""}, {"=_:/?.,()'+", "\"=_:/?.,()'+\""}, {"--b", "--b"}, {"b--", "\"b--\""},
		{strings.Repeat("b", 70), strings.Repeat("b", 70)}, {"b", "b; type=x"}, {"b", "b (comment)"}, {"bc", "x; boundary*0=b; boundary*1=c"},
	} {
		header := c.written
		if rest, found := strings.CutPrefix(header, "x; "); found {
			table = append(table, constructed{"boundary " + c.written, node{header: "Content-Type: multipart/mixed; " + rest + "\n", boundary: c.boundary,
				children: []node{text("a\n--x"), html("<p>")}, mediaType: "multipart/mixed", role: RoleStructure}, "a\n--x", "<p>"})
			continue
		}
		inner := bounded("alternative", c.boundary+"+", "\""+c.boundary+"+\"", text("a\n--"+c.boundary+"x\n--"), html("<p>"))
		table = append(table, constructed{"boundary " + c.written, bounded("mixed", c.boundary, header, inner, file("a/b", "c")), "a\n--" + c.boundary + "x\n--", "<p>"})
	}
	return table
}
