package smtpd

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/smtp"
	"github.com/sluice-mail/sluice/pkg/smtpd/refusals"
)

func newTestRefusals(t testing.TB) *refusals.Log {
	l, err := refusals.New(slog.New(slog.DiscardHandler), false, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestRedactKeepsNoPerson(t *testing.T) {
	for in, want := range map[string]string{
		"MAIL FROM:<person@sender.example> SIZE=10":      "MAIL FROM:...@sender.example> SIZE=10",
		"MAIL FROM:<person@sender.example> ENVID=person": "MAIL FROM:...@sender.example>",
		"RCPT TO:<\"a b@c\"@example.com>":                "RCPT TO:...@example.com>",
		"MAIL FROM:person@sender.example":                "MAIL FROM:...@sender.example",
		"RCPT TO: <person@example.com>":                  "RCPT TO:...@example.com>",
		"RCPT TO:person":                                 "RCPT TO:...",
		"rcpt person@example.com":                        "rcpt ...@example.com",
		"RCPT TO:<@a.example:person@example.com>":        "RCPT TO:...@example.com>",
		"VRFY person@example.com":                        "VRFY ...@example.com",
		"VRFY person":                                    "VRFY ...",
		"EXPN \"person: me\"":                            "EXPN ...",
		"person@example.com":                             "(18 bytes)",
		"cGVyc29u":                                       "(8 bytes)",
		"EHLO client.example":                            "EHLO client.example",
	} {
		if got := redact(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

// Debug prints dialogues, never a byte of a mail, and persons only with LogPII.
func TestDebugPrintsDialoguesWithoutBodies(t *testing.T) {
	for _, pii := range []bool{false, true} {
		text := new(syncBuffer)
		d := newDialogue(newTestMetrics(t), newTestRefusals(t), slog.New(slog.NewTextHandler(text, &slog.HandlerOptions{Level: slog.LevelDebug})), pii)
		srv := startWith(t, Config{}, new(memorySink), func(s *Server) { s.session.Observer = d })
		c := dial(t, srv.addr)
		c.hello()
		c.envelope()
		c.send("Subject: secret\r\n\r\nsecret body\r\n.\r\n")
		c.want("250")
		c.cmd("QUIT", "221")
		got := text.String()
		if strings.Contains(got, "secret") {
			t.Errorf("a body was printed:\n%s", got)
		}
		if !strings.Contains(got, "EHLO client.example") || !strings.Contains(got, "354") || !strings.Contains(got, "@example.com") {
			t.Errorf("the dialogue is missing:\n%s", got)
		}
		if strings.Contains(got, "u@example.com") != pii {
			t.Errorf("LogPII %v:\n%s", pii, got)
		}
	}
}

// Whatever a client calls its command, the label set stays.
func TestVerbLabelsAreBounded(t *testing.T) {
	reg := prometheus.NewRegistry()
	m, err := newMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	d := newDialogue(m, newTestRefusals(t), slog.New(slog.DiscardHandler), false)
	series := func() (n int) {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			n += len(f.Metric)
		}
		return n
	}
	sess := smtp.NewSession(new(smtp.SessionConfig), smtp.Peer{})
	before := series()
	for _, verb := range []string{"XYZZY", "", ".", "MAIL", "a@b.example", "HELO"} {
		for _, code := range []int{0, 99, 220, 354, 421, 550, 999} {
			d.Replied(sess, verb, smtp.Reply{Code: code})
		}
	}
	if after := series(); after != before {
		t.Errorf("%d series became %d", before, after)
	}
}
