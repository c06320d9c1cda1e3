package smtpd

import (
	"encoding/json"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// logged returns the log lines with this message.
func (r *running) logged(t *testing.T, msg string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(r.log.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatal(err)
		}
		if fields["msg"] == msg {
			all = append(all, fields)
		}
	}
	return all
}

// Whatever is refused can be seen at the usual level, with the reason, and counted.
func TestRefusalsAreVisible(t *testing.T) {
	for name, c := range map[string]struct {
		cfg           Config
		say           []string // each with the reply it gets
		stage, reason string
		rcpt          string
	}{
		"unknown recipient": {Config{}, []string{"MAIL FROM:<a@sender.example>", "250", "RCPT TO:<ann@refused.example>", "550"}, "rcpt", "unknown_recipient", "@refused.example"},
		"relaying":          {Config{}, []string{"MAIL FROM:<a@sender.example>", "250", "RCPT TO:<ann%x@example.com>", "550"}, "rcpt", "relay", "@example.com"},
		"size":              {Config{MaxMessageBytes: 1000}, []string{"MAIL FROM:<a@sender.example> SIZE=2000", "552"}, "mail", "too_large", ""},
		"line endings": {Config{}, []string{"MAIL FROM:<a@sender.example>", "250", "RCPT TO:<ann@example.com>", "250", "DATA", "354", "bare\rCR\r\n.", "550"},
			"message", "line_endings", "@example.com"},
		"unknown command":  {Config{}, []string{"FROB", "500"}, "command", "unknown_command", ""},
		"bare LF command":  {Config{}, []string{"NOOP\nNOOP", "550"}, "session", "bare_lf_command", ""},
		"another protocol": {Config{}, []string{"GET / HTTP/1.1", "221"}, "command", "not_smtp", ""},
		"without sequence": {Config{}, []string{"DATA", "503"}, "data", "sequence", ""},
		"bad chunk":        {Config{}, []string{"BDAT x", "521"}, "bdat", "bad_chunk", ""},
		"silence":          {Config{Timeouts: Timeouts{Idle: patient}}, []string{"NOOP", "250", "", "421"}, "session", "timeout", ""},
	} {
		t.Run(name, func(t *testing.T) {
			srv := start(t, c.cfg, new(memorySink))
			client := dial(t, srv.addr)
			client.hello()
			for i := 0; i < len(c.say); i += 2 {
				if c.say[i] == "" {
					client.want(c.say[i+1])
				} else {
					client.cmd(c.say[i], c.say[i+1])
				}
			}
			lines := srv.logged(t, "rejected")
			if len(lines) != 1 {
				t.Fatalf("%d lines, want 1:\n%s", len(lines), srv.log)
			}
			line := lines[0]
			rcpt, _ := line["rcpt"].(string)
			if line["stage"] != c.stage || line["reason"] != c.reason || rcpt != c.rcpt || line["helo"] != "client.example" || line["remote_net"] != "127.0.0.0/24" {
				t.Errorf("the line is %v", line)
			}
			if strings.Contains(srv.log.String(), "ann") || strings.Contains(srv.log.String(), "127.0.0.1") {
				t.Errorf("a person or an address is in the log:\n%s", srv.log)
			}
		})
	}
}

func TestRefusedConnectionsAreVisible(t *testing.T) {
	elsewhere := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	here := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for name, c := range map[string]struct {
		cfg    Config
		send   string
		reason string
	}{
		"per address":          {Config{MaxConnsPerIP: 1}, "", "conns_per_ip"},
		"all":                  {Config{MaxConns: 1}, "", "conns"},
		"untrusted proxy":      {Config{ProxyProtocol: ProxyRequire, TrustedProxies: elsewhere}, "PROXY TCP4 198.51.100.1 192.0.2.1 1 25\r\n", "proxy_untrusted"},
		"malformed header":     {Config{ProxyProtocol: ProxyRequire, TrustedProxies: here}, "EHLO client.example\r\n", "proxy_malformed"},
		"header does not come": {Config{ProxyProtocol: ProxyRequire, TrustedProxies: here, Timeouts: Timeouts{ProxyHeader: 50 * time.Millisecond}}, "PROXY", "proxy_timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := start(t, c.cfg, new(memorySink))
			if c.send == "" {
				dial(t, srv.addr).hello()
			}
			client := dial(t, srv.addr)
			client.send(c.send)
			eventually(t, "the line", func() bool { return len(srv.logged(t, "rejected")) == 1 })
			if line := srv.logged(t, "rejected")[0]; line["reason"] != c.reason || line["remote_net"] != "127.0.0.0/24" {
				t.Errorf("the line is %v", line)
			}
		})
	}
}

// A handshake that fails is most likely ours to mend (a certificate, a version).
func TestFailedHandshakeIsVisible(t *testing.T) {
	cfg, _ := withCertificate(t, Config{})
	srv := startKind(t, cfg, new(memorySink), ListenerTLS)
	dial(t, srv.addr).send("EHLO client.example\r\n")
	eventually(t, "the line", func() bool { return len(srv.logged(t, "rejected")) == 1 })
	if line := srv.logged(t, "rejected")[0]; line["reason"] != "tls_failed" || line["error"] == nil {
		t.Errorf("the line is %v", line)
	}
}

// The end of a session says why it is over.
func TestSessionsSayWhyTheyEnd(t *testing.T) {
	for name, c := range map[string]struct{ say, reason string }{
		"QUIT":       {"QUIT\r\n", "quit"},
		"no wait":    {"EHLO x\r\nNOOP\r\n", "no_wait"},
		"not SMTP":   {"GET /\r\n", "not_smtp"},
		"too wrong":  {strings.Repeat("FROB\r\n", 10), "too_many_errors"},
		"just gone":  {"NOOP\r\n", "client_left"},
		"in a mail":  {"MAIL FROM:<>\r\nRCPT TO:<u@example.com>\r\nBDAT 9\r\nhalf", "client_left"},
		"bare LF":    {"NOOP\n", "bare_lf_command"},
		"bad chunks": {"BDAT x\r\n", "bad_chunk"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := start(t, Config{}, new(memorySink))
			client := dial(t, srv.addr)
			client.hello()
			client.send(c.say)
			if err := client.conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the line", func() bool { return len(srv.logged(t, "session ended")) == 1 })
			if line := srv.logged(t, "session ended")[0]; line["reason"] != c.reason {
				t.Errorf("the line is %v", line)
			}
		})
	}
}

// A probe of a load balancer or a scanner connects and leaves, with FIN or RST, before or after the greeting.
func TestProbesAreNotLogged(t *testing.T) {
	trusted := Config{ProxyProtocol: ProxyRequire, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	for name, cfg := range map[string]Config{"plain": {}, "proxy": trusted} {
		for _, reset := range []bool{false, true} {
			srv := start(t, cfg, new(memorySink))
			c := dial(t, srv.addr)
			if name == "plain" {
				c.want("220 ")
			}
			if reset {
				_ = c.conn.(*net.TCPConn).SetLinger(0)
			}
			_ = c.conn.Close()
			eventually(t, "the connection is over", func() bool {
				srv.mu.Lock()
				defer srv.mu.Unlock()
				return len(srv.conns) == 0
			})
			if srv.log.String() != "" {
				t.Errorf("%s, reset %v:\n%s", name, reset, srv.log)
			}
		}
	}
}

// Replies that answer no command are counted, too: a server that says 421 to everybody shows it.
func TestRepliesWithoutACommandAreCounted(t *testing.T) {
	srv := start(t, Config{MaxConnsPerIP: 1}, new(memorySink))
	dial(t, srv.addr).hello()
	dial(t, srv.addr).want("421")
	if greetings, refused := valueOf(srv.metrics.commands.WithLabelValues("none", "2xx")), valueOf(srv.metrics.commands.WithLabelValues("none", "4xx")); greetings != 1 || refused != 1 {
		t.Errorf("%v greetings, %v refusals", greetings, refused)
	}
}

// What was left out of a minute is written when the server stops.
func TestLeftOutRefusalsAreWrittenAtTheStop(t *testing.T) {
	srv := start(t, Config{}, new(memorySink))
	c := dial(t, srv.addr)
	c.hello()
	c.cmd("MAIL FROM:<a@sender.example>", "250")
	for range 50 {
		c.cmd("RCPT TO:<ann@refused.example>", "550")
	}
	c.cmd("QUIT", "221")
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, line := range srv.logged(t, "rejected") {
		if left, ok := line["left_out"].(float64); ok {
			sum += left
		} else {
			sum++
		}
	}
	if sum != 50 {
		t.Errorf("the log says %v refusals, want 50:\n%s", sum, srv.log)
	}
}
