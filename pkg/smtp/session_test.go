package smtp

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"unsafe"
)

const oneMail = "MAIL FROM:<a@sender.example>\r\nRCPT TO:<u@example.com>\r\n"

func TestOrdinaryMail(t *testing.T) {
	p := greeted(testConfig())
	wantReplies(t, p.say("EHLO client.example\r\n"), "250")
	wantReplies(t, p.say(oneMail+"DATA\r\n"), "250 250 354")
	replies := p.say("Subject: hi\r\n\r\n..dot\r\n.\r\nQUIT\r\n")
	wantReplies(t, replies, "250 221")
	if !strings.Contains(replies, "queued as id1") {
		t.Errorf("the id is not in the reply: %q", replies)
	}
	if len(p.mails) != 1 || string(p.mails[0].data) != "Subject: hi\r\n\r\n.dot\r\n" {
		t.Errorf("stored %v", p.mails)
	}
	env := p.mails[0].env
	if env.GetHelo() != "client.example" || env.GetProtocol() != "ESMTP" || env.GetIngress() != "mx.example.com" ||
		env.GetClient().GetPort() != 2525 || env.GetSession() != "test" || env.GetTls() != nil || env.GetProxy() != nil {
		t.Errorf("envelope %v", env)
	}
	if !p.closed {
		t.Error("QUIT did not close")
	}
}

// An idle session is what a server has ten thousand of: between mails it holds one struct and nothing else.
func TestIdleSessionIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(Session{}); size > 320 {
		t.Errorf("a Session is %d bytes, want at most 320", size)
	}
	p := inData(t)
	p.say("x\r\n.\r\n")
	if s := p.s; s.tx != nil || s.out != nil || s.line != nil {
		t.Errorf("it still holds tx %v, out %d, line %d", s.tx, cap(s.out), cap(s.line))
	}
}

// TestProtocolNames (RFC 3848, RFC 6531 section 4.3).
func TestProtocolNames(t *testing.T) {
	for _, c := range []struct {
		hello, params string
		tls           bool
		want          string
	}{
		{"HELO", "", false, "SMTP"}, {"EHLO", "", false, "ESMTP"}, {"EHLO", "", true, "ESMTPS"},
		{"EHLO", " SMTPUTF8", false, "UTF8SMTP"}, {"EHLO", " SMTPUTF8", true, "UTF8SMTPS"},
	} {
		peer := testPeer()
		peer.Proxy = netip.MustParseAddrPort("[2001:db8::1]:443")
		if c.tls {
			peer.TLS = &TLSInfo{Version: "TLS1.2", Cipher: "X", SNI: "mx.example.com"}
		}
		p := newPlayer(testConfig(), peer)
		p.s.Greet()
		p.flush()
		p.say(c.hello + " client.example\r\n")
		p.say("MAIL FROM:<a@sender.example>" + c.params + "\r\n")
		env := p.s.Envelope()
		if env.GetProtocol() != c.want || (env.GetTls().GetSni() != "") != c.tls || len(env.GetProxy().GetIp()) != 16 {
			t.Errorf("%+v: got %v", c, env)
		}
	}
}

// TestRefusalsOfOthers: what a Sink or a Recipients returns becomes a valid 4xx or 5xx reply, whatever it is; faults
// of ours are temporary and are not explained to strangers.
func TestRefusalsOfOthers(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{Reply{550, "5.1.1", "No", ""}, "550 5.1.1 No\r\n"},
		{&Reply{452, "4.3.1", "Full", ""}, "452 4.3.1 Full\r\n"},
		{fmt.Errorf("x: %w", Reply{452, "4.3.1", "Full", ""}), "452 4.3.1 Full\r\n"},
		{errors.New("secret"), "451 4.3.0 Temporary failure, try again later\r\n"},
		{Reply{250, "2.0.0", "Ok", ""}, "451 4.3.0 Temporary failure, try again later\r\n"},
		{Reply{550, "4.1.1", "No", ""}, "550 5.0.0 No\r\n"},
		{Reply{450, "", "No", ""}, "450 4.0.0 No\r\n"},
		{Reply{550, "5.1.1", "a\r\n250 b\x00\u00e4", ""}, "550-5.1.1 a?\r\n550 5.1.1 250 b???\r\n"},
		{(*Reply)(nil), "451 4.3.0 Temporary failure, try again later\r\n"},
	} {
		if got := string(Refusal(c.err).AppendTo(nil)); got != c.want {
			t.Errorf("%#v: got %q, want %q", c.err, got, c.want)
		}
	}
	long := string(Reply{550, "5.1.1", strings.Repeat("x", 1000), ""}.AppendTo(nil))
	if len(long) != maxReplyLine {
		t.Errorf("a reply line of %d bytes", len(long))
	}
}

// TestNoClientBytesInReplies: nothing a client sends is echoed to it, so nothing can be made to look like a reply.
func TestNoClientBytesInReplies(t *testing.T) {
	for _, d := range loadDialogues(t) {
		for _, turn := range d.turns {
			if strings.Contains(string(turn.bytes), "zzz") {
				t.Fatalf("%s contains the mark of this test", d.name)
			}
		}
	}
	p := greeted(testConfig())
	p.say("EHLO zzz\r\n")
	p.say("MAIL FROM:<zzz@zzz.example> ZZZ=zzz\r\nMAIL FROM:<zzz@zzz.example>\r\nRCPT TO:<zzz@zzz.example>\r\nzzz\r\nXCLIENT zzz\r\nVRFY zzz\r\nBDAT zzz\r\n")
	if got := p.dialog.String(); strings.Contains(strings.ToLower(got), "zzz") {
		t.Errorf("echoed: %s", got)
	}
}

// TestObserver: it sees each command and reply, and no byte of a mail.
func TestObserver(t *testing.T) {
	cfg := testConfig()
	var o seen
	cfg.Observer = &o
	p := greeted(cfg)
	p.say("EHLO client.example\r\n")
	p.say(oneMail + "DATA\r\n")
	p.say("secret\r\n.\r\nfrob\r\nauth login c2VjcmV0\r\nc2VjcmV0\r\nsecret\r\nNOOP\r\nauth=c2VjcmV0\r\nfrob\r\nQUIT\r\n")
	want := seen{
		"< 220", "EHLO client.example", "EHLO< 250", "MAIL FROM:<a@sender.example>", "MAIL< 250", "RCPT TO:<u@example.com>", "RCPT< 250",
		"DATA", "DATA< 354", ".< 250", "frob", "?< 500", "auth", "AUTH< 502", "(hidden)", "?< 500", "(hidden)", "?< 500", "NOOP", "NOOP< 250",
		"(hidden)", "?< 500", "frob", "?< 500", "QUIT", "QUIT< 221",
	}
	if !reflect.DeepEqual(o, want) {
		t.Errorf("got %q\nwant %q", o, want)
	}
}

type seen []string

func (s *seen) Command(_ *Session, line []byte) { *s = append(*s, string(line)) }
func (s *seen) Replied(_ *Session, verb string, r Reply) {
	*s = append(*s, fmt.Sprintf("%s< %d", verb, r.Code))
}

// TestMisuse: a driver that does not answer questions is broken, and finds out at once.
func TestMisuse(t *testing.T) {
	for name, do := range map[string]func(s *Session){
		"Feed with a question open": func(s *Session) {
			s.Feed([]byte("MAIL FROM:<a@sender.example>\r\n"))
			s.Feed(nil)
		},
		"Accept without": func(s *Session) { s.Accept("") },
		"Reject without": func(s *Session) { s.Reject(nil) },
	} {
		p := greeted(testConfig())
		p.say("EHLO client.example\r\n")
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			do(p.s)
		}()
	}
}

// TestFlushDoesNotExcuse: input that was here before the reply to DATA was written has not waited for it, even when
// the driver writes in between because much is queued.
func TestFlushDoesNotExcuse(t *testing.T) {
	p := greeted(testConfig())
	p.say("EHLO client.example\r\n")
	in := []byte(oneMail + "DATA\r\nx\r\n.\r\n")
	for len(in) > 0 && !p.closed {
		n, ev := p.s.Feed(in)
		in = in[n:]
		p.handle(ev)
		p.flush()
	}
	if !p.closed || len(p.mails) > 0 || !strings.HasSuffix(p.dialog.String(), "554 5.5.0 You must wait for the server's reply\r\n") {
		t.Errorf("closed %v, stored %v, replies %s", p.closed, p.mails, p.dialog.String())
	}
}

// TestShutdownWhileDiscarding: a chunk that is being thrown away is no mail under way, but it must come to its end
// before the 421.
func TestShutdownWhileDiscarding(t *testing.T) {
	p := greeted(testConfig())
	p.say("EHLO client.example\r\n")
	wantReplies(t, p.say("BDAT 4\r\nab"), "")
	if p.s.Shutdown() {
		t.Fatal("over in the middle of a chunk")
	}
	wantReplies(t, p.say("c"), "")
	wantReplies(t, p.say("dNOOP\r\n"), "503 421")
	if !p.closed {
		t.Error("not closed")
	}
}

// TestNoHandshakeOverPlaintext: with input behind STARTTLS the session is over at Accept already, so that not even a
// driver that goes straight on to the handshake can get there (CVE-2011-0411).
func TestNoHandshakeOverPlaintext(t *testing.T) {
	p := greeted(testConfig())
	p.say("EHLO client.example\r\n")
	if _, ev := p.s.Feed([]byte("STARTTLS\r\nNOOP\r\n")); ev.Kind != EventStartTLS {
		t.Fatalf("got event %v", ev.Kind)
	}
	p.s.Accept("")
	if !p.s.Closed() {
		t.Error("the session goes on to the handshake")
	}
	wantReplies(t, p.flush(), "554")
}
