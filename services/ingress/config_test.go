package ingress

import (
	"crypto/tls"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mail/sluice/pkg/env"
	"github.com/sluice-mail/sluice/pkg/obs"
	"github.com/sluice-mail/sluice/pkg/policy"
	"github.com/sluice-mail/sluice/pkg/smtpd"
	"github.com/sluice-mail/sluice/pkg/smtpd/spool"
)

// load reads configurations from variables.
func load(vars map[string]string, into ...any) error {
	set := env.Set{Structs: into, Lookup: func(name string) (string, bool) {
		value, ok := vars[name]
		return value, ok
	}}
	return set.Load()
}

// What an operator sets reaches the server.
func TestLimitsReachTheServer(t *testing.T) {
	var cfg Config
	if err := load(map[string]string{
		"INGRESS_DOMAINS": "*", "INGRESS_IDLE_TIMEOUT": "30s", "INGRESS_MAX_ERRORS": "3", "INGRESS_MAX_JUNK": "4", "INGRESS_MAX_REFUSED_RCPTS": "5",
	}, &cfg); err != nil {
		t.Fatal(err)
	}
	if s := cfg.server(false); s.Timeouts.Idle != 30*time.Second || s.MaxErrors != 3 || s.MaxJunk != 4 || s.MaxRefusedRcpts != 5 {
		t.Errorf("got %+v", s)
	}
}

// Without a maximum one variable could promise senders a size that the log does not take.
func TestLargestMailHasALimit(t *testing.T) {
	for size, ok := range map[string]bool{"256MiB": true, "257MiB": false, "4KiB": false} {
		var cfg Config
		err := load(map[string]string{"INGRESS_DOMAINS": "*", "INGRESS_MAX_MESSAGE_BYTES": size}, &cfg)
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "INGRESS_MAX_MESSAGE_BYTES") {
			t.Errorf("%s: %v", size, err)
		}
	}
}

// What an operator looks at is not for the internet, which the machine of an ingress is open to.
func TestAdminIsForThisHost(t *testing.T) {
	var cfg obs.AdminConfig
	if err := load(nil, &cfg); err != nil {
		t.Fatal(err)
	}
	if addr, err := netip.ParseAddrPort(cfg.Addr); err != nil || !addr.Addr().IsLoopback() {
		t.Errorf("ADMIN_ADDR is %q when unset, %v", cfg.Addr, err)
	}
}

// What cannot be sent in a reply, or cannot be told from a name, is not taken.
func TestTextsAndDelimiters(t *testing.T) {
	for _, tc := range []struct {
		cfg Config
		ok  bool
	}{
		{Config{Delimiter: "+", RejectText: "See https://example.com/mail"}, true},
		{Config{Delimiter: "x"}, false}, {Config{Delimiter: "@"}, false},
		{Config{RejectText: "two\r\nlines"}, false}, {Config{RejectText: strings.Repeat("x", maxRejectText+1)}, false},
		{Config{TLSAddr: env.Addrs{":2465"}}, false}, {Config{TLSAddr: env.Addrs{":2465"}, TLSDir: "pairs"}, true},
	} {
		if err := tc.cfg.Validate(); (err == nil) != tc.ok {
			t.Errorf("%+v: %v", tc.cfg, err)
		}
	}
	cfg := Config{Delimiter: "+", RejectText: "See there", TLSDir: "pairs", TLSMin: "1.3"}
	if s := cfg.server(false); s.RejectText != "See there" || s.TLSDir != "pairs" || s.TLSMinVersion != tls.VersionTLS13 || cfg.policy().Delimiters != "+" {
		t.Errorf("got %+v", s)
	}
}

// Mail for ann+x is filed under ann, and the envelope keeps what was asked for.
func TestDelimiterKeepsWhatWasGiven(t *testing.T) {
	log := new(fakeLog)
	s, _ := newSink(t, log, spool.Config{})
	p, err := policy.New(policy.Config{Domains: []string{"example.com"}, Delimiters: "+"})
	if err != nil {
		t.Fatal(err)
	}
	d := from(t, netip.MustParseAddr("127.0.0.1"), serveSink(t, s, p, smtpd.Config{}))
	for _, step := range [][2]string{{"MAIL FROM:<a@b.example>", "250"}, {"RCPT TO:<Ann+x@example.com>", "250"}, {"DATA", "354"}, {"Hello\r\n.", "250"}} {
		if got := d.say(step[0] + "\r\n"); !strings.HasPrefix(got, step[1]) {
			t.Fatalf("%s is answered %q", step[0], got)
		}
	}
	if r := log.env.GetRecipients()[0]; r.GetMailbox() != "ann@example.com" || r.GetAsGiven() != "Ann+x@example.com" {
		t.Errorf("the envelope has %v", r)
	}
}
