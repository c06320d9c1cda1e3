package smtpd

import (
	"crypto/tls"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-mail/sluice/pkg/smtpd/limits"
)

func TestConnectionLimitsAnswer421(t *testing.T) {
	tests := map[string]struct {
		cfg   Config
		limit string
	}{
		"all":         {Config{MaxConns: 2}, limits.Conns},
		"per address": {Config{MaxConnsPerIP: 2}, limits.PerIP},
		"per network": {Config{MaxConnsPerNet: 2}, limits.PerNet},
		"rate":        {Config{ConnRate: 2}, limits.Rate},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.cfg.RejectText = "Ask postmaster@example.com"
			srv := start(t, test.cfg, new(memorySink))
			first, second := dial(t, srv.addr), dial(t, srv.addr)
			first.hello()
			second.hello()
			third := dial(t, srv.addr)
			if got := third.want("421-4.7.0"); !strings.Contains(got, "421 4.7.0 Ask postmaster@example.com") {
				t.Errorf("the reply is %q", got)
			}
			third.wantClosed()
			if n := valueOf(srv.metrics.limits.WithLabelValues(test.limit)); n != 1 {
				t.Errorf("limits_total{%s} is %v", test.limit, n)
			}
			first.cmd("QUIT", "221")
			first.wantClosed()
			if test.limit == limits.Rate {
				return // does not free by leaving
			}
			eventually(t, "a place is free again", func() bool {
				conn, err := net.Dial("tcp", srv.addr)
				if err != nil {
					t.Fatal(err)
				}
				c := newClient(t, conn)
				defer conn.Close()
				return c.reply()[:3] == "220"
			})
		})
	}
}

func TestExemptAddressesAreNotCounted(t *testing.T) {
	srv := start(t, Config{MaxConnsPerIP: 1, MaxConnsPerNet: 1, ConnRate: 1, LimitExempt: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, new(memorySink))
	for range 5 {
		dial(t, srv.addr).hello()
	}
}

// Behind the limit of its address a client gets no handshake: that is the expensive part.
func TestLimitsComeBeforeTheHandshake(t *testing.T) {
	cfg, roots := withCertificate(t, Config{MaxConnsPerIP: 1})
	srv := startKind(t, cfg, new(memorySink), ListenerTLS)
	first := dial(t, srv.addr)
	first.handshake(&tls.Config{RootCAs: roots, ServerName: "mx.example.com"})
	first.hello()
	dial(t, srv.addr).wantClosed()
	if n := valueOf(srv.metrics.limits.WithLabelValues(limits.PerIP)); n != 1 {
		t.Errorf("limits_total{%s} is %v", limits.PerIP, n)
	}
}
