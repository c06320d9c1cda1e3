package smtp

import (
	"strings"
	"testing"
)

// A chunk that was refused is the beginning of a mail that is lost: what comes behind it must not become a mail of its
// own (RFC 3030 section 2).
func TestTailOfARefusedChunkIsNoMail(t *testing.T) {
	for name, c := range map[string]struct{ say, want string }{
		"no recipient asked for": {"MAIL FROM:<a@sender.example>\r\nBDAT 5\r\nhead\nRCPT TO:<u@example.com>\r\nBDAT 4 LAST\r\ntail", "250 503 503 503"},
		"recipient refused":      {"MAIL FROM:<a@sender.example>\r\nRCPT TO:<nobody@example.com>\r\nBDAT 5\r\nhead\nRCPT TO:<u@example.com>\r\nBDAT 4 LAST\r\ntail", "250 550 554 503 554"},
		"no transaction":         {"BDAT 5\r\nhead\nRCPT TO:<u@example.com>\r\nBDAT 4 LAST\r\ntail", "503 503 503"},
	} {
		t.Run(name, func(t *testing.T) {
			p := greeted(testConfig())
			p.say("EHLO client.example\r\n")
			wantReplies(t, p.say(c.say), c.want)
			if len(p.mails) != 0 {
				t.Errorf("stored %v", p.mails)
			}
			wantReplies(t, p.say(oneMail+"BDAT 5 LAST\r\nwhole"), "250 250 250") // LAST has ended the refused one
			if len(p.mails) != 1 || string(p.mails[0].data) != "whole" {
				t.Errorf("stored %v", p.mails)
			}
		})
	}
}

// One wrong command per mail is how some clients are (a parameter we do not offer, tried each time): the errors of a
// connection that delivers are those since its last delivery, as Postfix counts.
func TestADeliveryForgivesErrors(t *testing.T) {
	p := greeted(testConfig())
	p.say("EHLO client.example\r\n")
	for i := range 120 {
		wantReplies(t, p.say("MAIL FROM:<a@sender.example> RET=HDRS\r\n"), "555")
		wantReplies(t, p.say("MAIL FROM:<a@sender.example>\r\nRCPT TO:<nobody@example.com>\r\nRCPT TO:<u@example.com>\r\nDATA\r\n"), "250 550 250 354")
		if p.say("x\r\n.\r\n"); len(p.mails) != i+1 {
			t.Fatalf("mail %d was not taken", i)
		}
	}
}

// Every command that a client can repeat without end leads to one.
func TestNothingCanBeRepeatedWithoutEnd(t *testing.T) {
	const refused = "MAIL FROM:<a@sender.example>\r\nRCPT TO:<nobody@example.com>\r\n"
	for name, c := range map[string]struct{ before, again string }{
		"MAIL too large":              {"", "MAIL FROM:<a@sender.example> SIZE=999999999\r\n"},
		"MAIL needs SMTPUTF8":         {"", "MAIL FROM:<b\u00fc@sender.example>\r\n"},
		"the same recipient":          {"MAIL FROM:<a@sender.example>\r\n", "RCPT TO:<u@example.com>\r\n"},
		"DATA without recipients":     {refused, "DATA\r\n"},
		"chunks without recipients":   {refused, "BDAT 0 LAST\r\n" + refused},
		"transactions without a mail": {"", "MAIL FROM:<a@sender.example>\r\nRSET\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			p := greeted(testConfig())
			p.say("EHLO client.example\r\n")
			p.say(c.before)
			for n := 0; !p.closed; n++ {
				if p.say(c.again); n == 2000 {
					t.Fatalf("not over after %d times", n)
				}
			}
		})
	}
}

// A group that was sent before its answers were read ends with one DATA too many when no recipient is taken: that is no
// error (RFC 2920 section 3.1).
func TestOneDataWithoutRecipientsIsNoError(t *testing.T) {
	p := greeted(testConfig())
	p.say("EHLO client.example\r\n")
	for range 30 {
		wantReplies(t, p.say("MAIL FROM:<a@sender.example>\r\nRCPT TO:<nobody@example.com>\r\nDATA\r\nRSET\r\n"), "250 550 554 250")
	}
}

// The envelope keeps who spoke for the client, and only what is recorded is offered.
func TestXClientKeepsTheProxy(t *testing.T) {
	peer := testPeer()
	peer.XClient = true
	p := newPlayer(testConfig(), peer)
	p.s.Greet()
	p.flush()
	if offer := p.say("EHLO proxy.example\r\n"); !strings.Contains(offer, "XCLIENT ADDR PORT\r\n") {
		t.Errorf("offered: %q", offer)
	}
	p.say("XCLIENT ADDR=198.51.100.1 PORT=4660\r\n")
	p.say("EHLO client.example\r\n")
	p.say("MAIL FROM:<a@sender.example>\r\n")
	env := p.s.Envelope()
	if string(env.GetClient().GetIp()) != "\xc6\x33\x64\x01" || string(env.GetProxy().GetIp()) != "\xc0\x00\x02\x07" {
		t.Errorf("client %v, proxy %v", env.GetClient(), env.GetProxy())
	}
}
