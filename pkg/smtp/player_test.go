package smtp

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// player is the smallest possible driver: it answers the questions of a Session from memory and keeps the mails.
type player struct {
	s      *Session
	open   *storedMail
	mails  []storedMail
	events []string // what the session asked for, data merged
	dialog bytes.Buffer
	tls    bool // the handshake waits for the 220 to be written
	closed bool

	closedAfter []bool // by turn of a script

	ready     error // the answer to EventMail
	begin     error // the answer to EventBegin
	commit    error // the answer to EventEnd
	tlsBusy   error // the answer to EventStartTLS
	failAfter int   // bytes after which a Write fails; 0 is never
}

// storedMail is one mail that got its 250.
type storedMail struct {
	from  string
	rcpts []string
	data  []byte
	flags uint64
	env   *mailv1.Envelope
}

func (m storedMail) String() string {
	return fmt.Sprintf("%s -> %s %q flags %d", m.from, strings.Join(m.rcpts, ","), m.data, m.flags)
}

func testConfig() *SessionConfig {
	return &SessionConfig{
		Hostname: "mx.example.com", MaxMessageBytes: 1000, MaxRcpts: 100, MaxErrors: 10, MaxJunk: 50,
		MaxRejectedRcpts: 100, StartTLS: true,
	}
}

func testPeer() Peer {
	return Peer{Client: netip.MustParseAddrPort("192.0.2.7:2525"), Session: "test"}
}

func newPlayer(cfg *SessionConfig, peer Peer) *player {
	return &player{s: NewSession(cfg, peer)}
}

// greeted is a player whose greeting has been written.
func greeted(cfg *SessionConfig) *player {
	p := newPlayer(cfg, testPeer())
	p.s.Greet()
	p.flush()
	return p
}

// feed gives bytes to the session and does what it asks for. It does not write the replies.
func (p *player) feed(in []byte) {
	for !p.closed {
		n, ev := p.s.Feed(in)
		in = in[n:]
		if ev.Kind == EventNone {
			if len(in) > 0 {
				panic("EventNone with input left")
			}
			return
		}
		p.handle(ev)
	}
}

func (p *player) handle(ev Event) {
	p.note(ev)
	switch ev.Kind {
	case EventMail:
		p.answer(p.ready, "")
	case EventRcpt:
		mailbox, err := testResolve(ev.Rcpt)
		p.answer(err, mailbox)
	case EventBegin:
		if p.begin == nil {
			p.open = newStored(p.s.Envelope())
		}
		p.answer(p.begin, "")
	case EventData:
		p.write(ev.Span)
	case EventEnd:
		if p.commit == nil {
			p.open.flags = p.s.Flags()
			p.mails = append(p.mails, *p.open)
		}
		p.open = nil
		p.answer(p.commit, fmt.Sprintf("id%d", len(p.mails)))
	case EventAbort:
		if p.open == nil {
			panic("EventAbort without a delivery")
		}
		p.open = nil
	case EventStartTLS:
		p.tls = p.tlsBusy == nil
		p.answer(p.tlsBusy, "")
	case EventClose:
		p.open, p.closed = nil, true
	}
}

func (p *player) write(span []byte) {
	if p.failAfter > 0 && len(p.open.data)+len(span) >= p.failAfter {
		p.open = nil
		p.s.Fail(fmt.Errorf("disk on fire"))
		return
	}
	p.open.data = append(p.open.data, span...)
}

func (p *player) answer(err error, arg string) {
	if err != nil {
		p.s.Reject(err)
		return
	}
	p.s.Accept(arg)
}

// note records an event. How the data was cut into spans is of no meaning.
func (p *player) note(ev Event) {
	if ev.Kind == EventData {
		return
	}
	// An overrun may be seen before the abort it makes needless.
	if last := len(p.events) - 1; ev.Kind == EventClose && last >= 0 && p.events[last] == fmt.Sprint(EventAbort, Rcpt{}) {
		p.events = p.events[:last]
	}
	p.events = append(p.events, fmt.Sprint(ev.Kind, ev.Rcpt))
}

// flush is the driver writing the replies, and doing the handshake that waits for that.
func (p *player) flush() string {
	out := string(p.s.Output())
	p.s.Flushed()
	p.dialog.WriteString(out)
	if p.tls && !p.s.Closed() {
		p.s.TLSStarted(TLSInfo{Version: "TLS1.3", Cipher: "TLS_AES_128_GCM_SHA256"})
	}
	p.tls = false
	return out
}

// say feeds bytes whole and returns the replies.
func (p *player) say(in string) string {
	p.feed([]byte(in))
	return p.flush()
}

func newStored(env *mailv1.Envelope) *storedMail {
	m := &storedMail{from: env.GetMailFrom(), env: env}
	for _, r := range env.GetRecipients() {
		m.rcpts = append(m.rcpts, r.GetMailbox())
	}
	return m
}

// testResolve is the policy of the dialogues: example.com and the address literal are ours.
func testResolve(r Rcpt) (string, error) {
	local, domain := strings.ToLower(r.Local), strings.ToLower(strings.TrimSuffix(r.Domain, "."))
	switch domain {
	case "":
		domain = "example.com"
	case "example.com", "[192.0.2.1]", "b\u00fccher.example":
	default:
		return "", replyRelay
	}
	switch local {
	case "nobody":
		return "", Reply{550, "5.1.1", "No such mailbox", ""}
	case "disabled":
		return "", &Reply{550, "5.2.1", "Mailbox disabled", ""}
	case "later":
		return "", fmt.Errorf("looking up later: timeout")
	case "full":
		return "", Reply{452, "4.2.2", "Mailbox full", ""}
	case "nomail":
		return "", Reply{556, "5.1.10", "Domain takes no mail", ""}
	}
	return address{local: local, domain: domain}.String(), nil
}

// wantReplies compares the codes of replies with a space-separated list.
func wantReplies(t *testing.T, replies, want string) {
	t.Helper()
	if got := strings.Join(codes(replies), " "); got != want {
		t.Fatalf("got replies %s, want %s; in full:\n%s", got, want, replies)
	}
}

// codes returns the code of each reply, once for a multi-line one.
func codes(replies string) []string {
	var list []string
	for line := range strings.SplitSeq(replies, "\r\n") {
		if len(line) > 3 && line[3] == ' ' {
			list = append(list, line[:3])
		}
	}
	return list
}
