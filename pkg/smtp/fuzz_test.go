package smtp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/mail"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// turnMark separates the segments of a fuzzed dialogue: what comes after it is sent when the replies to what came
// before have been read.
const turnMark = "\xfe"

// FuzzSession (F1): no input makes a session panic or break the reply syntax; replies, questions and stored mail
// are the same for every split; there is one reply for each command; the stored bytes are those of a naive parser.
func FuzzSession(f *testing.F) {
	for _, d := range loadDialogues(f) {
		var all []string
		for _, turn := range d.turns {
			if len(turn.bytes) > 0 {
				all = append(all, string(turn.bytes))
			}
		}
		f.Add([]byte(strings.Join(all, turnMark)), uint64(1), uint8(0))
	}
	f.Add([]byte("\x07\x24\x1d\x04\x16\x24\x24\x24\x11"), uint64(2), uint8(modeGrammar))
	f.Fuzz(func(t *testing.T, input []byte, seed uint64, mode uint8) {
		checkSession(t, input, seed, mode)
	})
}

// TestRandomDialogues is FuzzSession over 2,000 dialogues made of the pieces below.
func TestRandomDialogues(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	for range 2000 {
		choices := make([]byte, 5+random.IntN(60))
		for i := range choices {
			choices[i] = byte(random.IntN(256))
		}
		checkSession(t, choices, random.Uint64(), uint8(random.IntN(8))|modeGrammar)
	}
}

// modeGrammar makes each byte of the input choose one of the pieces.
const modeGrammar = 8

func fromGrammar(choices []byte) []byte {
	pieces := []string{
		turnMark, turnMark, turnMark, turnMark + "EHLO c.example\r\n" + turnMark, oneMail, oneMail, "DATA\r\n" + turnMark, oneMail + "DATA\r\n" + turnMark,
		oneMail + "DATA\r\n" + turnMark, "DATA\r\n", "EHLO c\r\n", "HELO c\r\n", "MAIL FROM:<> BODY=8BITMIME SMTPUTF8\r\n", "RCPT TO:<nobody@example.com>\r\n",
		"RCPT TO:<u@example.com>\r\n", "RSET\r\n", "NOOP\r\n", "QUIT\r\n", "STARTTLS\r\n" + turnMark, "XCLIENT ADDR=192.0.2.9\r\n", "BDAT 3\r\n", "BDAT 3\r\n\r\n.",
		"BDAT 3 LAST\r\n", "BDAT 0 LAST\r\n", "BDAT 900\r\n", "BDAT 1600 LAST\r\n", "BDAT x\r\n", ".\r\n", ".\r\n", "\r\n.\r\n", "\r\n.\r\n", "\r\n", "\n", "\r", ".", "..",
		"x", "\x00", "\xff", "\x16\x03", strings.Repeat("x", 400), strings.Repeat("Received: x\r\n", 40), "Subject: x\r\n", strings.Repeat("N", 2000),
	}
	var b bytes.Buffer
	b.WriteString("EHLO c.example\r\n" + turnMark)
	for _, c := range choices {
		b.WriteString(pieces[int(c)%len(pieces)])
	}
	return b.Bytes()
}

func checkSession(t *testing.T, input []byte, seed uint64, mode uint8) {
	if mode&modeGrammar != 0 {
		input = fromGrammar(input[:min(len(input), 100)])
	}
	if len(input) > 20000 {
		return
	}
	d := &script{cfg: testConfig(), peer: testPeer(), prepare: func(*player) {}, turns: []turn{{action: "greet", replies: []wantReply{{}}}}}
	d.cfg.BareLF = BareLFMode(mode & 1)
	d.cfg.StartTLS = mode&2 == 0
	d.peer.XClient = mode&4 != 0
	for segment := range bytes.SplitSeq(input, []byte(turnMark)) {
		d.turns = append(d.turns, turn{bytes: segment})
	}
	p, replies := d.play(whole)
	for _, out := range replies {
		for line := range strings.Lines(out) {
			if err := checkReplyLine(line, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	random := rand.New(rand.NewPCG(seed, 0))
	for _, cut := range []func(int, []byte) [][]byte{bytewise, randomly(random)} {
		q, got := d.play(cut)
		if !reflect.DeepEqual(got, replies) || !reflect.DeepEqual(q.events, p.events) || q.closed != p.closed ||
			fmt.Sprint(q.mails) != fmt.Sprint(p.mails) {
			t.Fatalf("split: %q %v %v\nwhole: %q %v %v", got, q.events, q.mails, replies, p.events, p.mails)
		}
	}
	checkAgainstReference(t, d, p, replies)
}

// randomly cuts into pieces of random length.
func randomly(random *rand.Rand) func(int, []byte) [][]byte {
	return func(_ int, b []byte) [][]byte {
		var list [][]byte
		for len(b) > 0 {
			n := 1 + random.IntN(min(len(b), 40))
			list, b = append(list, b[:n]), b[n:]
		}
		return list
	}
}

func checkAgainstReference(t *testing.T, d *script, p *player, replies []string) {
	t.Helper()
	ref := &refServer{cfg: d.cfg}
	for i, turn := range d.turns[1:] {
		if ref.closed {
			break
		}
		if err := ref.turn(turn.bytes, replies[i+1], p.closedAfter[i+1]); err != nil {
			t.Fatalf("reference: %v\nturn %d %.300q\nreplies %q", err, i+1, turn.bytes, replies)
		}
	}
	if len(p.mails) != len(ref.stored) {
		t.Fatalf("stored %v\nreference %v", p.mails, ref.stored)
	}
	for i, m := range p.mails {
		want := ref.stored[i]
		if m.env.GetSmtputf8() || m.env.GetBody() == mailv1.BodyType_BODY_TYPE_8BITMIME {
			want.flags &^= uint64(mailv1.Flag_FLAG_8BIT_UNDECLARED)
		}
		if !bytes.Equal(m.data, want.data) || m.flags != want.flags {
			t.Fatalf("stored %v\nreference %q flags %d", m, want.data, want.flags)
		}
	}
}

// FuzzScanner (F2): the scanner finds the same end, the same bytes and the same verdict as the reference, however
// the input is cut; and what was dot-stuffed comes out as it was.
func FuzzScanner(f *testing.F) {
	for _, s := range []string{
		"", ".\r\n", "a\r\n.\r\nb", "..\r\n.\r\n", "a\n.\n", "a\r\r\n.\r\n", "\r\n.\r", ".\r.\r\n.\r\n", "a\r.\r\n", ".\n.\r\n",
		"a\x00\xff\r\n..b\r\n.\r\n", "a.\nb\r\n.\r\n", "\n\r\n.\r\n", "x\r\n.\r\r\n.\r\n",
	} {
		f.Add([]byte(s), uint64(3))
	}
	f.Add(append(htmlMail(), ".\r\n"...), uint64(4))
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 1))
		for _, cut := range []func(int, []byte) [][]byte{whole, bytewise, randomly(random)} {
			checkScan(t, in, cut(0, in))
		}
		stuffed := append(bytes.ReplaceAll(append([]byte("\r\n"), in...), []byte("\r\n."), []byte("\r\n..")), "\r\n.\r\n"...)[2:]
		var d scanner
		data, end := scanAll(&d, [][]byte{stuffed})
		if want := append(bytes.Clone(in), "\r\n"...); end != len(stuffed) || !bytes.Equal(data, want) {
			t.Fatalf("stuffed %q came out as %q, end %d of %d", in, data, end, len(stuffed))
		}
	})
}

func checkScan(t *testing.T, in []byte, pieces [][]byte) {
	t.Helper()
	var d scanner
	data, end := scanAll(&d, pieces)
	want, flags, suspect, wantEnd := refData(in)
	if end != wantEnd || !bytes.Equal(data, want) {
		t.Fatalf("%q: got %q end %d, want %q end %d", in, data, end, want, wantEnd)
	}
	// Bytes that have come without the end may still be judged differently.
	if wantEnd >= 0 && (d.flags != flags || d.suspect != suspect) {
		t.Fatalf("%q: flags %d suspect %v, want %d %v", in, d.flags, d.suspect, flags, suspect)
	}
}

// scanAll returns the data and the offset behind its end, -1 without one.
func scanAll(d *scanner, pieces [][]byte) (data []byte, end int) {
	at := 0
	for _, in := range pieces {
		for len(in) > 0 {
			span, n, done := d.next(in)
			data, at, in = append(data, span...), at+n, in[n:]
			if done {
				return data, at
			}
		}
	}
	return data, -1
}

// FuzzPath (F3): what the path parser accepts has no control characters, keeps to the limits, and written out and
// parsed again is the same; where net/mail takes it too, it reads the same address.
func FuzzPath(f *testing.F) {
	for _, s := range []string{
		"<a@b.example>", "<>", "a@b.example SIZE=1", `<"a b"@c.example> BODY=8BITMIME`, `<"\"\\"@c>`, `<""@c>`, "<@a,@b:u@d.example>",
		"<u@[192.0.2.1]>", "<u@[IPv6:2001:db8::1]>", "<postmaster>", "<j\u00f6rg@b\u00fccher.example>", "<a..b@c>", `<"a>b"@c> X=Y`,
		"<a@b.>", "<a@b..c>", `<"a`, "<" + strings.Repeat("a", 250) + "@bc>", "<a%b@c>", "<u@other\u3002example>",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, arg string) {
		if !utf8.ValidString(arg) || strings.ContainsFunc(arg, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return // refused before any path is parsed
		}
		a, params, err := parsePath(arg)
		if err != nil {
			return
		}
		if list, ok := parseParams(params); ok && len(list) > maxParams {
			t.Fatalf("%d parameters", len(list))
		}
		checkAddress(t, a)
	})
}

func checkAddress(t *testing.T, a address) {
	t.Helper()
	text := a.String()
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) || len(a.given) > maxMailbox {
		t.Fatalf("accepted %q", text)
	}
	if text == "" {
		return
	}
	again, _, err := parsePath("<" + text + ">")
	if len(text) > maxMailbox {
		return // needless backslashes had been dropped and needed ones came
	}
	if err != nil || again.local != a.local || again.domain != a.domain || again.utf8 != a.utf8 {
		t.Fatalf("%q parsed again: %+v %v, was %+v", text, again, err, a)
	}
	if m, err := mail.ParseAddress("<" + text + ">"); err == nil && !strings.HasPrefix(a.domain, "[") && m.Address != a.local+"@"+a.domain {
		t.Fatalf("net/mail reads %q as %q", text, m.Address)
	}
}

// FuzzTraceHeaders (F7): whatever a client put into the envelope, the headers are exactly three fields.
func FuzzTraceHeaders(f *testing.F) {
	f.Add("client.example", "a@sender.example", "u@example.com", "TLS1.3", []byte{192, 0, 2, 1}, int64(1700000000000), true)
	f.Add("x\r\nEvil: 1", "a\r\nEvil: 1@b", "u@x\n\nbody", "\r\n", []byte{1}, int64(-1), false)
	f.Add("(((", `"a b"@c`, "j\u00f6rg@b\u00fccher.example", ";", []byte("0123456789abcdef"), int64(1)<<62, true)
	f.Add(strings.Repeat("x", 255), strings.Repeat("a b", 80), strings.Repeat("\u00fc", 120), "", []byte{}, int64(0), true)
	f.Fuzz(func(t *testing.T, helo, from, to, name string, ip []byte, at int64, one bool) {
		env := &mailv1.Envelope{
			Id: bytes.Repeat([]byte{7}, 16), ReceivedAt: at, Ingress: name, Client: &mailv1.Endpoint{Ip: ip}, Helo: helo,
			Protocol: name, Tls: &mailv1.TLS{Version: name, Cipher: helo, Sni: to}, MailFrom: from,
			Recipients: []*mailv1.Recipient{{Mailbox: to}},
		}
		if !one {
			env.Recipients = append(env.Recipients, &mailv1.Recipient{Mailbox: "hidden@example.com"})
		}
		checkTrace(t, TraceHeaders(env, to), one)
	})
}

func checkTrace(t *testing.T, h []byte, one bool) {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(append(h, "\r\nbody"...)))
	if err != nil {
		t.Fatalf("net/mail does not read %q: %v", h, err)
	}
	if len(m.Header) != 3 || len(m.Header["Return-Path"]) != 1 || len(m.Header["Delivered-To"]) != 1 || len(m.Header["Received"]) != 1 {
		t.Fatalf("got fields %v from %q", m.Header, h)
	}
	if strings.Contains(string(h), "hidden@") || !one && strings.Contains(m.Header.Get("Received"), " for <") {
		t.Fatalf("one recipient is told about another: %q", h)
	}
	for line := range strings.Lines(string(h)) {
		if body, ok := strings.CutSuffix(line, "\r\n"); !ok || strings.ContainsAny(body, "\r\n\x00") || !utf8.ValidString(body) {
			t.Fatalf("bad line %q", line)
		}
	}
}
