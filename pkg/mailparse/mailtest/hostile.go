// Package mailtest makes hostile mails, for tests of code that must handle any mail.
package mailtest

import (
	"bytes"
	"math/rand/v2"
	"strings"
)

// hostile makes mails that break the rules in many ways at once: a tree of parts with few boundaries, so that they
// collide, fields that lie about what follows, and damage to the bytes at the end.
type hostile struct {
	*rand.Rand
	bytes.Buffer
}

func (h *hostile) pick(from ...string) string { return from[h.IntN(len(from))] }

// Hostile makes one of them, the same for the same seed: of no bytes, or of up to some hundred thousand.
func Hostile(seed uint64) []byte {
	h := &hostile{Rand: rand.New(rand.NewPCG(seed, 0))}
	h.entity(h.IntN(5))
	mail := h.Bytes()
	for range h.IntN(4) { // damage
		if len(mail) == 0 {
			break
		}
		at := h.IntN(len(mail))
		switch h.IntN(6) {
		case 0:
			mail = mail[:at]
		case 1:
			mail[at] = byte(h.Uint32())
		case 2:
			mail = bytes.ReplaceAll(mail, []byte("\r\n"), []byte(h.pick("\n", "\r", "\n\r\n", "\r\r\n")))
		case 3:
			mail = append(mail[:at:at], mail[at/2:]...)
		}
	}
	return mail
}

func (h *hostile) boundary() string {
	return h.pick("b", "b", "bb", "b--", "", " ", "=_b:1", "b c", "--", strings.Repeat("b", 1+h.IntN(210)))
}

func (h *hostile) entity(depth int) {
	boundary := h.boundary()
	for range h.IntN(5) {
		h.field(boundary)
	}
	if depth > 0 && h.IntN(4) > 0 {
		h.WriteString(h.pick("Content-Type: multipart/", "CONTENT-TYPE :\r\n multipart/") +
			h.pick("mixed", "alternative", "related", "signed", "report", "digest", "x") +
			h.pick(";boundary=", "; boundary=\"", "; (c)boundary=\"", ";\r\n\tboundary*0=", "; boundary*=''") + boundary + h.pick("", "\"", "\"; x", ";") + "\r\n")
	}
	for range h.IntN(3) {
		h.field(boundary)
	}
	h.WriteString(h.pick("\r\n", "\r\n", "\r\n", "\n", ""))
	h.body(boundary)
	for range h.IntN(4) {
		if depth == 0 {
			break
		}
		h.WriteString(h.pick("\r\n--", "\r\n--", "\n--", "--") + h.pick(boundary, boundary, h.boundary()) + h.pick("", "", "  ", "x", "--") + h.pick("\r\n", "\n", ""))
		h.entity(depth - 1)
	}
	if h.IntN(2) == 0 {
		h.WriteString("\r\n--" + boundary + "--" + h.pick("\r\n", "", " x"))
	}
}

func (h *hostile) field(boundary string) {
	h.WriteString(h.pick(
		"Subject: =?utf-8?q?=C3=?= =?utf-8?b?vA?=\r\n", "Subject:\r\n", "Subject: \xa7A\xa6n\r\n", "From: \"(\\\"\r\n", "To: =?x?q?\r\n",
		"Date: 0-0-0\r\n", "Message-ID: <<>\r\n", "junk\r\n", ": no name\r\n", "From x\r\n", " folded\r\n", "\tfolded; name=x\r\n", "\x00: \x00\r\n",
		"Content-Type: text/html; charset="+h.pick("big5", "x", "utf-16", "utf-7", "johab", "iso-2022-kr", "us-ascii", "\"")+"\r\n",
		"Content-Type: message/rfc822\r\n", "Content-Type: image/png; name=\"=?utf-8?b?\xfc?=\"\r\n", "Content-Type: /\r\n", "Content-Type:\r\n",
		"Content-Type: a/b"+strings.Repeat("; n*"+h.pick("0", "1*", "99")+"=%f", h.IntN(70))+"\r\n",
		"Content-Transfer-Encoding: "+h.pick("base64", "quoted-printable", "x", "BASE64 (c)")+"\r\n",
		"Content-Disposition: "+h.pick("attachment", "inline", "x", "")+"; filename="+h.pick("a", "\"", "\"a\\", "../a")+"\r\n",
		"Content-ID: <"+boundary+">\r\n", "X: "+strings.Repeat(h.pick("x", "=?", "(", "\\\"", ";", "\r\n "), h.IntN(400))+"\r\n"))
}

func (h *hostile) body(boundary string) {
	for range h.IntN(4) {
		h.WriteString(strings.Repeat(h.pick("text", "QUJD\r\n", "QUJD=", "=3D", "=\r\n", "= \r\n", "=", " ", "\t", "\xff", "\x00", "\r", "\n", "\r\n--", "\r\n--"+boundary+"x",
			"<meta charset=big5>", "\x1b$B", "+AKM-", "\r\n--"+strings.Repeat("b", 199)), h.pickLen()))
	}
}

func (h *hostile) pickLen() int {
	if h.IntN(20) == 0 {
		return h.IntN(3000)
	}
	return h.IntN(30)
}
