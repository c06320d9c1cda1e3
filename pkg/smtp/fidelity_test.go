package smtp

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"
)

// randomMail makes a mail out of the pieces that have broken servers: dots, mixed endings, NUL, 8-bit, long lines.
func randomMail(random *rand.Rand) []byte {
	pieces := []string{
		"\r\n", "\r\n", "\r\n", "\n", ".", "..", ".\r\n", "\r\n.", "\r\n..\r\n", "\x00", "\xff\xfe", "\u00e4", "text ", "Subject: x\r\n", "\r\n\r\n",
		"From ", "MAIL FROM:<a@b>\r\n", "QUIT\r\n", "=2E\r\n",
	}
	var b bytes.Buffer
	for range random.IntN(60) {
		switch random.IntN(40) {
		case 0:
			b.Write(bytes.Repeat([]byte{byte(random.IntN(256))}, random.IntN(3000)))
		case 1:
			b.WriteByte('\r')
		default:
			b.WriteString(pieces[random.IntN(len(pieces))])
		}
	}
	return b.Bytes()
}

// stuff is the sender's side of RFC 5321 section 4.5.2.
func stuff(mail []byte) []byte {
	s := bytes.ReplaceAll(append([]byte("\r\n"), mail...), []byte("\r\n."), []byte("\r\n.."))
	return append(s[2:], ".\r\n"...)
}

// TestSessionBytesInAreBytesStored: 2,000 generated mails by DATA and by BDAT. What the line-ending table accepts is stored
// with the sha256 it was sent with; the rest gets 550 and leaves nothing.
func TestSessionBytesInAreBytesStored(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 321))
	cfg := testConfig()
	cfg.MaxMessageBytes = 1 << 20
	taken, refused := 0, 0
	for range 2000 {
		mail := randomMail(random)
		for _, cut := range []func(int, []byte) [][]byte{whole, randomly(random)} {
			p := sendByBdat(cfg, mail, random, cut)
			checkStored(t, p, mail, true)

			lines := append(bytes.Clone(mail), "\r\n"...)
			_, _, suspect, end := refData(stuff(lines))
			if end != len(stuff(lines)) {
				t.Fatalf("the stuffed mail %q ends at %d of %d", mail, end, len(stuff(lines)))
			}
			p = sendByData(cfg, lines, cut)
			checkStored(t, p, lines, !suspect)
			if suspect {
				refused++
			} else {
				taken++
			}
		}
	}
	if taken < 500 || refused < 500 {
		t.Errorf("only %d taken and %d refused: the generator is off", taken, refused)
	}
}

func checkStored(t *testing.T, p *player, mail []byte, accepted bool) {
	t.Helper()
	replies := codes(p.dialog.String())
	last := replies[len(replies)-1]
	switch {
	case !accepted && (last != "550" || len(p.mails) > 0):
		t.Fatalf("%q: got %s and %d mails, want 550 and none", mail, last, len(p.mails))
	case accepted && (last != "250" || len(p.mails) != 1):
		t.Fatalf("%q: got %s and %d mails, want 250 and one", mail, last, len(p.mails))
	case accepted && sha256.Sum256(p.mails[0].data) != sha256.Sum256(mail):
		t.Fatalf("sent %q, stored %q", mail, p.mails[0].data)
	}
}

func sendByData(cfg *SessionConfig, mail []byte, cut func(int, []byte) [][]byte) *player {
	p := greeted(cfg)
	p.say("EHLO client.example\r\n")
	p.say(oneMail + "DATA\r\n")
	for _, piece := range cut(0, stuff(mail)) {
		p.feed(piece)
	}
	p.flush()
	return p
}

// sendByBdat sends all chunks in one segment.
func sendByBdat(cfg *SessionConfig, mail []byte, random *rand.Rand, cut func(int, []byte) [][]byte) *player {
	p := greeted(cfg)
	p.say("EHLO client.example\r\n")
	p.say(oneMail)
	var all bytes.Buffer
	for rest := mail; len(rest) > 1 && random.IntN(3) > 0; {
		n := 1 + random.IntN(len(rest)-1)
		fmt.Fprintf(&all, "BDAT %d\r\n%s", n, rest[:n])
		rest, mail = rest[n:], rest[n:]
	}
	fmt.Fprintf(&all, "BDAT %d LAST\r\n%s", len(mail), mail)
	for _, piece := range cut(0, all.Bytes()) {
		p.feed(piece)
	}
	p.flush()
	return p
}
