package smtp

import (
	"strings"
	"testing"
)

// The failures of Guerrilla SMTPd 2.3 and its successor that a session could repeat, each with its name.

// It cut an oversize mail at the limit, reported success, and took the rest for commands.
func TestAncestorOversizeTruncatedWithSuccess(t *testing.T) {
	p := inData(t)
	replies := p.say(strings.Repeat("x", 1010) + "\r\n" + hidden)
	wantReplies(t, replies, "552") // what is hidden in the mail gets no reply: it is mail
	wantReplies(t, p.say(oneMail+"DATA\r\n"), "250 250 354")
	if len(p.mails) != 0 {
		t.Errorf("stored %v", p.mails)
	}
}

// It did not forget the recipients of the first mail, and refused those of the second.
func TestAncestorSecondMailOnConnectionRefused(t *testing.T) {
	p := inData(t)
	wantReplies(t, p.say("one\r\n.\r\n"), "250")
	wantReplies(t, p.say("MAIL FROM:<b@sender.example>\r\nRCPT TO:<second@example.com>\r\nDATA\r\n"), "250 250 354")
	wantReplies(t, p.say("two\r\n.\r\n"), "250")
	if len(p.mails) != 2 || strings.Join(p.mails[1].rcpts, " ") != "second@example.com" {
		t.Errorf("stored %v", p.mails)
	}
}

// It looked for verbs anywhere in the line.
func TestAncestorVerbAnywhereInLine(t *testing.T) {
	p := greeted(testConfig())
	p.say("EHLO client.example\r\n")
	wantReplies(t, p.say("PLEASE QUIT\r\nX MAIL FROM:<a@sender.example>\r\nNOOP RCPT TO:<u@example.com> DATA QUIT\r\n"), "500 500 250")
	if p.closed || p.s.InTransaction() {
		t.Error("a verb inside a line was run")
	}
}

// It believed XCLIENT from anyone.
func TestAncestorXClientFromAnyone(t *testing.T) {
	p := greeted(testConfig())
	p.say("EHLO client.example\r\n")
	wantReplies(t, p.say("XCLIENT ADDR=198.51.100.1\r\n"), "500")
	if got := p.s.Peer().Client.Addr().String(); got != "192.0.2.7" {
		t.Errorf("the client is now %s", got)
	}
	peer := testPeer()
	peer.XClient = true
	p = newPlayer(testConfig(), peer)
	p.s.Greet()
	p.flush()
	p.say("EHLO client.example\r\n")
	wantReplies(t, p.say("XCLIENT ADDR=IPV6:2001:db8::1 PORT=99\r\n"), "220")
	if got := p.s.Peer().Client.String(); got != "[2001:db8::1]:99" {
		t.Errorf("the client is %s", got)
	}
}

// It saw the end of the data only at the end of a read, so that mail and QUIT in one segment hung.
func TestAncestorMessageAndQuitInOneSegment(t *testing.T) {
	p := inData(t)
	wantReplies(t, p.say("x\r\n.\r\nQUIT\r\n"), "250 221")
	if !p.closed || len(p.mails) != 1 {
		t.Errorf("closed %v, stored %v", p.closed, p.mails)
	}
}

// It did not remove stuffed dots.
func TestAncestorNoDotUnstuffing(t *testing.T) {
	p := inData(t)
	p.say("..one\r\n...\r\n.\r\n")
	if len(p.mails) != 1 || string(p.mails[0].data) != ".one\r\n..\r\n" {
		t.Errorf("stored %v", p.mails)
	}
}

// It stored only the first recipient.
func TestAncestorOnlyFirstRecipientStored(t *testing.T) {
	p := greeted(testConfig())
	p.say("EHLO client.example\r\n")
	p.say("MAIL FROM:<a@sender.example>\r\nRCPT TO:<Mixed.Case@Example.COM>\r\nRCPT TO:<v@example.com>\r\nDATA\r\n")
	p.say("x\r\n.\r\n")
	if len(p.mails) != 1 || strings.Join(p.mails[0].rcpts, " ") != "mixed.case@example.com v@example.com" {
		t.Fatalf("stored %v", p.mails)
	}
	rcpts := p.mails[0].env.GetRecipients()
	if rcpts[0].GetAsGiven() != "Mixed.Case@Example.COM" || rcpts[1].GetAsGiven() != "" {
		t.Errorf("as given: %v", rcpts)
	}
}
