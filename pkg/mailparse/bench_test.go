package mailparse

import (
	"bytes"
	"encoding/base64"
	"io"
	"testing"
)

// benchMail is an ordinary 20 KB mail: relays' fields, text and HTML, a small attachment.
func benchMail() []byte {
	var b bytes.Buffer
	for range 8 {
		b.WriteString("Received: from relay.example.net (relay.example.net [192.0.2.1])\r\n\tby mx.example.com with ESMTPS id 4XyZ1234;\r\n\tMon, 2 Nov 2026 11:22:33 +0100 (CET)\r\n")
	}
	b.WriteString("DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net;\r\n\tbh=abcdefghijklmnopqrstuvwxyz=; b=" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=\r\n")
	b.WriteString("From: =?utf-8?q?J=C3=BCrgen_M=C3=BCller?= <sender@example.net>\r\nTo: reader@example.com\r\n" +
		"Subject: =?utf-8?B?R3LDvMOfZSBhdXMgS8O2bG4=?=\r\nDate: Mon, 02 Nov 2026 11:22:33 +0100\r\nMessage-ID: <1@example.net>\r\n" +
		"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"outer\"\r\n\r\n--outer\r\n" +
		"Content-Type: multipart/alternative; boundary=\"inner\"\r\n\r\n--inner\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n")
	b.Write(bytes.Repeat([]byte("Some text of an ordinary length in a line, as people write it.\r\n"), 40))
	b.WriteString("--inner\r\nContent-Type: text/html; charset=utf-8\r\n\r\n")
	b.Write(bytes.Repeat([]byte("<p>Some text of an ordinary length in a line, as people write it.</p>\r\n"), 80))
	b.WriteString("--inner--\r\n--outer\r\nContent-Type: application/pdf; name=\"a.pdf\"\r\nContent-Disposition: attachment; filename=\"a.pdf\"\r\n" +
		"Content-Transfer-Encoding: base64\r\n\r\n")
	line := []byte(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("x"), 57)) + "\r\n")
	b.Write(bytes.Repeat(line, 120))
	b.WriteString("--outer--\r\n")
	return b.Bytes()
}

func BenchmarkIndex(b *testing.B) {
	mail := benchMail()
	b.SetBytes(int64(len(mail)))
	b.ReportAllocs()
	for b.Loop() {
		Index(mail)
	}
}

func BenchmarkSummarise(b *testing.B) {
	mail := benchMail()
	b.SetBytes(int64(len(mail)))
	b.ReportAllocs()
	for b.Loop() {
		Summarise(mail)
	}
}

func BenchmarkBodies(b *testing.B) {
	m := Index(benchMail())
	b.ReportAllocs()
	for b.Loop() {
		m.Bodies(1 << 20)
	}
}

func BenchmarkRead(b *testing.B) {
	mail := largeMail(5 << 20)
	b.SetBytes(int64(len(mail)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Read(bytes.NewReader(mail)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeFrom(b *testing.B) {
	mail := largeMail(5 << 20)
	file := &Index(mail).Parts[2]
	b.SetBytes(int64(file.Body.Len()))
	for b.Loop() {
		if _, err := io.Copy(io.Discard, file.DecodeFrom(bytes.NewReader(mail))); err != nil {
			b.Fatal(err)
		}
	}
}
