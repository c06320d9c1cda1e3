package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"mime/quotedprintable"
	"strings"
)

type sample struct {
	name string
	raw  []byte
}

// mails are ordinary and well-formed: what net/mail refuses cannot be compared.
func mails() []sample {
	return []sample{
		{"4 KB text", compose(3<<10, 0)},
		{"20 KB text, page, file", compose(6<<10, 8<<10)},
		{"1 MB with a file", compose(6<<10, 730<<10)},
		{"10 MB with a file", compose(6<<10, 7300<<10)},
		{"500 small parts", parts(500)},
	}
}

const (
	received = "Received: from relay.example.net (relay.example.net [192.0.2.1])\r\n\tby mx.example.com with ESMTPS id 4XyZ1234;\r\n\tMon, 2 Nov 2026 11:22:33 +0100 (CET)\r\n"
	fields   = "From: =?utf-8?q?J=C3=BCrgen_M=C3=BCller?= <sender@example.net>\r\nTo: reader@example.com\r\n" +
		"Subject: =?utf-8?B?R3LDvMOfZSBhdXMgS8O2bG4=?=\r\nDate: Mon, 02 Nov 2026 11:22:33 +0100\r\n" +
		"Message-ID: <1@example.net>\r\nMIME-Version: 1.0\r\n"
)

// compose makes a mail of that much text, and a page and a file when it has one.
func compose(text, file int) []byte {
	var b bytes.Buffer
	b.WriteString(strings.Repeat(received, 5) + fields)
	line := "Some text of an ordinary length in a line, as people write it, with Grüße.\r\n"
	if file == 0 {
		b.WriteString("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + strings.Repeat(line, text/len(line)))
		return b.Bytes()
	}
	b.WriteString("Content-Type: multipart/mixed; boundary=\"outer\"\r\n\r\n--outer\r\nContent-Type: multipart/alternative; boundary=\"inner\"\r\n\r\n" +
		"--inner\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + strings.Repeat(line, text/3/len(line)) +
		"--inner\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	w := quotedprintable.NewWriter(&b)
	_, _ = w.Write([]byte(strings.Repeat("<p>"+line, text*2/3/len(line)))) // into memory
	_ = w.Close()
	b.WriteString("\r\n--inner--\r\n--outer\r\nContent-Type: application/pdf; name=\"a.pdf\"\r\n" +
		"Content-Disposition: attachment; filename=\"a.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	data := make([]byte, file)
	for i := range data {
		data[i] = byte(i * i >> 3)
	}
	for ; len(data) > 0; data = data[min(len(data), 57):] {
		b.WriteString(base64.StdEncoding.EncodeToString(data[:min(len(data), 57)]) + "\r\n")
	}
	b.WriteString("--outer--\r\n")
	return b.Bytes()
}

func parts(n int) []byte {
	var b bytes.Buffer
	b.WriteString(fields + "Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n")
	for i := range n {
		fmt.Fprintf(&b, "--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nPart number %d.\r\n", i)
	}
	b.WriteString("--b--\r\n")
	return b.Bytes()
}
