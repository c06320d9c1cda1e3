package smtpd

import (
	"context"
	"sync"
	"testing"

	"github.com/sluice-mail/sluice/pkg/smtp"
)

// recordingPolicy keeps what it was asked with.
type recordingPolicy struct {
	anyRecipient
	mu        sync.Mutex
	mail      Transaction
	rcpt      smtp.Rcpt
	rcptHelo  string
	refuseAll error
}

func (p *recordingPolicy) Mail(_ context.Context, tx *Transaction) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mail.Peer, p.mail.Envelope = tx.Peer, tx.Envelope
	return p.refuseAll
}

func (p *recordingPolicy) Rcpt(ctx context.Context, tx *Transaction, r smtp.Rcpt) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rcpt, p.rcptHelo = r, tx.Envelope.GetHelo()
	return p.anyRecipient.Rcpt(ctx, tx, r)
}

func TestPolicyKnowsWhoSends(t *testing.T) {
	policy := new(recordingPolicy)
	cfg, roots := withCertificate(t, Config{})
	srv := startWith(t, cfg, new(memorySink), func(s *Server) { s.policy = policy })
	c := dial(t, srv.addr)
	c.hello()
	c.startTLS(roots)
	c.cmd("EHLO secure.example", "250-")
	c.cmd("MAIL FROM:<a@sender.example>", "250")
	c.cmd("RCPT TO:<U@example.com>", "250")
	policy.mu.Lock()
	defer policy.mu.Unlock()
	if p := &policy.mail; p.Peer.TLS == nil || p.Peer.Client != addrPort(c.conn.LocalAddr()) || p.Envelope.GetMailFrom() != "a@sender.example" {
		t.Errorf("at MAIL it knew %+v", p.Peer)
	}
	if policy.rcpt.AsGiven != "U@example.com" || policy.rcptHelo != "secure.example" {
		t.Errorf("at RCPT it knew %+v, HELO %q", policy.rcpt, policy.rcptHelo)
	}
}

func TestPolicyRefusesASender(t *testing.T) {
	policy := &recordingPolicy{refuseAll: smtp.Reply{Code: 550, Enhanced: "5.7.1", Text: "Not from you"}}
	srv := startWith(t, Config{}, new(memorySink), func(s *Server) { s.policy = policy })
	c := dial(t, srv.addr)
	c.hello()
	c.cmd("MAIL FROM:<a@sender.example>", "550 5.7.1 Not from you")
	c.cmd("RCPT TO:<u@example.com>", "503")
}

// droppingSink drops a mail when the test says so.
type droppingSink struct {
	*memorySink
	began chan *Transaction
}

func (s droppingSink) Begin(tx *Transaction) (Delivery, error) {
	s.began <- tx
	return s.memorySink.Begin(tx)
}

// A sink may take back the room of a mail whose client says nothing: nothing the client does would wake its connection.
func TestDropEndsASilentUpload(t *testing.T) {
	sink := droppingSink{new(memorySink), make(chan *Transaction, 1)}
	srv := startWith(t, Config{}, sink.memorySink, func(s *Server) { s.sink = sink })
	for name, reply := range map[string]smtp.Reply{
		"at once":       {Code: 421, Enhanced: "4.3.1", Text: "Too slow"},
		"after the end": {Code: 452, Enhanced: "4.3.1", Text: "No room"},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, srv.addr)
			c.hello()
			c.envelope()
			c.send("half a mail\r\n")
			(<-sink.began).Drop(reply)
			if reply.Code == 421 {
				c.want("421 4.3.1 Too slow")
				c.wantClosed()
			} else {
				c.send(".\r\n")
				c.want("452 4.3.1 No room")
			}
		})
	}
	eventually(t, "both mails are dropped", func() bool { return srv.sink.abortedCount() == 2 && srv.sink.openCount() == 0 })
}
