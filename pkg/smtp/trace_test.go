package smtp

import (
	"bytes"
	"strings"
	"testing"

	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

func traceEnvelope() *mailv1.Envelope {
	return &mailv1.Envelope{
		Id:         []byte{0x01, 0x8b, 0xcf, 0xe5, 0x68, 0x00, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10},
		ReceivedAt: 1700000000000, Ingress: "mx.example.com", Client: &mailv1.Endpoint{Ip: []byte{192, 0, 2, 7}, Port: 25},
		Helo: "client.example", Protocol: "ESMTPS", Tls: &mailv1.TLS{Version: "TLS1.3", Cipher: "TLS_AES_128_GCM_SHA256"},
		MailFrom: "a@sender.example", Recipients: []*mailv1.Recipient{{Mailbox: "u@example.com"}},
	}
}

// TestTraceHeaders (RFC 5321 section 4.4, RFC 3848).
func TestTraceHeaders(t *testing.T) {
	got := string(TraceHeaders(traceEnvelope(), "u@example.com"))
	want := "Return-Path: <a@sender.example>\r\nDelivered-To: u@example.com\r\n" +
		"Received: from client.example ([192.0.2.7]) by mx.example.com with ESMTPS\r\n" +
		"\t(TLS1.3 TLS_AES_128_GCM_SHA256) id 01HF7YAT00041061050R3GG28A\r\n\tfor <u@example.com>; Tue, 14 Nov 2023 22:13:20 +0000\r\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTraceHeadersSparse(t *testing.T) {
	env := &mailv1.Envelope{Client: &mailv1.Endpoint{Ip: bytes.Repeat([]byte{0x20}, 16)}}
	got := string(TraceHeaders(env, "u@example.com"))
	for _, want := range []string{"Return-Path: <>\r\n", "from unknown ([IPv6:2020:", "by unknown with unknown;"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}

// TestTraceHeadersKeepRecipientsSecret: RFC 5321 section 7.2, no "for" with more than one recipient.
func TestTraceHeadersKeepRecipientsSecret(t *testing.T) {
	env := traceEnvelope()
	env.Recipients = append(env.Recipients, &mailv1.Recipient{Mailbox: "bcc@example.com"})
	if got := string(TraceHeaders(env, "u@example.com")); strings.Contains(got, "bcc") || strings.Contains(got, " for ") {
		t.Errorf("got\n%s", got)
	}
}

// TestTraceHeadersInjection: nothing a client can say gets a line or a field of its own into the headers.
func TestTraceHeadersInjection(t *testing.T) {
	for _, evil := range []string{"x\r\nEvil: 1", "x\nEvil: 1", "x\rEvil: 1", "x) by evil; (", "x\u2028Evil: 1", "x\x00", strings.Repeat("x ", 200)} {
		env := traceEnvelope()
		env.Helo, env.MailFrom, env.Tls.Sni, env.Tls.Cipher, env.Protocol = evil, evil, evil, evil, evil
		env.Recipients[0].Mailbox = evil
		h := TraceHeaders(env, evil)
		checkTrace(t, h, true)
		if strings.Contains(string(h), "by evil;") && strings.Contains(string(h), "from x) by") {
			t.Errorf("%q got out of its place:\n%s", evil, h)
		}
	}
}
