package smtp

import (
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
