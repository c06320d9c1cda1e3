package smtp

import (
	"fmt"
	"strings"
	"testing"
)

// nearMisses are the ends of data that some server takes for one and RFC 5321 section 4.1.1.4 does not.
func nearMisses() []string {
	return []string{
		"\n.\n", "\n.\r\n", "\r.\r", "\r.\n", "\n.\r", "\r\n.\n", "\r\n.\r", "\r.\r\n",
		"\r\n\x00.\r\n", "\r\n.\x00\r\n", "\n\n.\n\n", "\r\r\n.\r\r\n", "\n.\n.\r\n", "\r\n.\r\r\n", "\r\n .\r\n", "\r\n. \r\n", "\r\n.\t\r\n",
	}
}

const hidden = "MAIL FROM:<evil@sender.example>\r\nRCPT TO:<v@example.com>\r\nDATA\r\nsmuggled\r\n.\r\n"

// TestSmuggling (CVE-2023-51764 and its kin): a mail with a near miss and a hidden dialogue behind it is one stored
// mail or none, however the bytes are cut, after an oversize mail, over TLS and by BDAT. The hidden one never runs.
func TestSmuggling(t *testing.T) {
	for _, miss := range nearMisses() {
		body := "x" + miss + hidden
		t.Run(fmt.Sprintf("%q", miss), func(t *testing.T) {
			for at := 1; at < len(body); at++ {
				trySmuggling(t, inData, body[:at], body[at:])
			}
			trySmuggling(t, inData, body)
			trySmuggling(t, inData, strings.Split(body, "")...)
			trySmuggling(t, afterOversize, strings.Split(body, "")...)
			trySmuggling(t, afterOversize, body)
			trySmuggling(t, inTLS, body)
			trySmuggling(t, inTLS, strings.Split(body, "")...)
			trySmuggling(t, oversizeItself, strings.Repeat("x", 1100)+body)
			trySmuggling(t, inChunk(len(body)), body)
			trySmuggling(t, inChunk(len(body)), strings.Split(body, "")...)
		})
	}
}

// trySmuggling gets a session ready for mail, sends the pieces and checks what became of them.
func trySmuggling(t *testing.T, ready func(*testing.T) *player, pieces ...string) {
	t.Helper()
	p := ready(t)
	before := len(p.mails)
	for _, piece := range pieces {
		// The replies are written between any two pieces: the rule against input behind DATA is not what saves us.
		p.say(piece)
	}
	p.say("NOOP\r\n")
	if n := len(p.mails) - before; n > 1 {
		t.Fatalf("%q: %d mails: %v", pieces, n, p.mails)
	}
	for _, m := range p.mails {
		if strings.Contains(m.from, "evil") {
			t.Fatalf("%q: the hidden mail was taken", pieces)
		}
	}
	for _, e := range p.events {
		if strings.Contains(e, "v@example.com") {
			t.Fatalf("%q: a hidden RCPT was run", pieces)
		}
	}
}

// inData is a session after 354.
func inData(t *testing.T) *player {
	t.Helper()
	p := greeted(testConfig())
	p.say("EHLO client.example\r\n")
	wantReplies(t, p.say(oneMail+"DATA\r\n"), "250 250 354")
	return p
}

// afterOversize is a session after 354 that has just refused a mail of over the limit.
func afterOversize(t *testing.T) *player {
	t.Helper()
	p := inData(t)
	wantReplies(t, p.say(strings.Repeat("x", 1200)+"\r\n.\r\n"+oneMail+"DATA\r\n"), "552 250 250 354")
	return p
}

// oversizeItself is for a mail that is over the limit but not hopeless.
func oversizeItself(t *testing.T) *player { return inData(t) }

// inTLS is a session after 354 inside TLS.
func inTLS(t *testing.T) *player {
	t.Helper()
	p := greeted(testConfig())
	p.say("EHLO client.example\r\n")
	wantReplies(t, p.say("STARTTLS\r\n"), "220")
	p.say("EHLO client.example\r\n")
	wantReplies(t, p.say(oneMail+"DATA\r\n"), "250 250 354")
	return p
}

// inChunk is a session inside a last chunk of n bytes.
func inChunk(n int) func(*testing.T) *player {
	return func(t *testing.T) *player {
		t.Helper()
		p := greeted(testConfig())
		p.say("EHLO client.example\r\n")
		wantReplies(t, p.say(oneMail+fmt.Sprintf("BDAT %d LAST\r\n", n)), "250 250")
		return p
	}
}

// TestLateBodyIsNotRun: after a timeout, an overrun or a fault that ends the session in the middle of a mail, the
// rest of the mail is thrown away (a library runs it as commands).
func TestLateBodyIsNotRun(t *testing.T) {
	for name, end := range map[string]func(p *player){
		"timeout": func(p *player) { p.s.Timeout() },
		"overrun": func(p *player) { p.say(strings.Repeat("x", 1600)) },
		"fault":   func(p *player) { p.s.Fail(Reply{421, "4.3.0", "No", ""}) },
	} {
		t.Run(name, func(t *testing.T) {
			p := inData(t)
			p.say("x\r\n")
			end(p)
			p.flush()
			if replies := p.say("y\r\n.\r\n" + hidden); replies != "" || len(p.mails) > 0 || !p.closed {
				t.Errorf("replies %q, mails %v, closed %v", replies, p.mails, p.closed)
			}
		})
	}
}
