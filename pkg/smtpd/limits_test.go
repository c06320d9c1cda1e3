package smtpd

import (
	"crypto/tls"
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestLimitsCountAndForget(t *testing.T) {
	l := newLimits(&Config{MaxConns: 2, MaxConnsPerIP: 2, MaxConnsPerNet: 3, ConnRate: 0, LimitExempt: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	for i, want := range []string{"", "", limitConns} {
		if got := l.enter(); got != want {
			t.Fatalf("connection %d: limit %q, want %q", i+1, got, want)
		}
	}
	l.leave()
	if l.enter() != "" {
		t.Fatal("a place that was left is not free")
	}
	now := time.Now()
	enter := func(addr string) string {
		_, limit := l.enterClient(netip.MustParseAddr(addr), now)
		return limit
	}
	for _, step := range []struct{ addr, want string }{
		{"192.0.2.1", ""}, {"192.0.2.1", ""}, {"192.0.2.1", limitPerIP},
		{"192.0.2.2", ""}, {"192.0.2.3", limitPerNet},
		{"::ffff:192.0.2.1", limitPerIP}, // the same address in IPv6 clothes
		{"2001:db8:1:2::1", ""}, {"2001:db8:1:2:ffff::2", ""}, {"2001:db8:1:2:3::3", ""}, {"2001:db8:1:2:4::4", limitPerNet},
		{"2001:db8:1:3::1", ""},
		{"10.1.1.1", ""}, {"10.1.1.1", ""}, {"10.1.1.1", ""}, {"10.1.1.1", ""}, // exempt
	} {
		if got := enter(step.addr); got != step.want {
			t.Fatalf("%s: limit %q, want %q", step.addr, got, step.want)
		}
	}
	for _, a := range []string{"192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8:1:2::1", "2001:db8:1:2:ffff::2", "2001:db8:1:2:3::3", "2001:db8:1:3::1"} {
		l.leaveClient(netip.MustParseAddr(a))
	}
	if len(l.byIP) != 0 || len(l.byNet) != 0 {
		t.Fatalf("left behind: %v %v", l.byIP, l.byNet)
	}
}

func TestConnRateIsPerMinuteAndAddress(t *testing.T) {
	l := newLimits(&Config{MaxConns: 10, ConnRate: 2})
	a, b, now := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), time.Now()
	enter := func(a netip.Addr, at time.Time) string { _, limit := l.enterClient(a, at); return limit }
	for i, want := range []string{"", "", limitRate} {
		if got := enter(a, now); got != want {
			t.Fatalf("connection %d: limit %q, want %q", i+1, got, want)
		}
	}
	if enter(b, now) != "" {
		t.Fatal("another address is limited too")
	}
	if enter(a, now.Add(time.Minute)) != "" {
		t.Fatal("a minute later still limited")
	}
}

func TestConnectionLimitsAnswer421(t *testing.T) {
	tests := map[string]struct {
		cfg   Config
		limit string
	}{
		"all":         {Config{MaxConns: 2}, limitConns},
		"per address": {Config{MaxConnsPerIP: 2}, limitPerIP},
		"per network": {Config{MaxConnsPerNet: 2}, limitPerNet},
		"rate":        {Config{ConnRate: 2}, limitRate},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			srv := start(t, test.cfg, new(memorySink))
			first, second := dial(t, srv.addr), dial(t, srv.addr)
			first.hello()
			second.hello()
			third := dial(t, srv.addr)
			third.want("421 4.7.0")
			third.wantClosed()
			if n := valueOf(srv.metrics.limits.WithLabelValues(test.limit)); n != 1 {
				t.Errorf("limits_total{%s} is %v", test.limit, n)
			}
			first.cmd("QUIT", "221")
			first.wantClosed()
			if test.limit == limitRate {
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
	if n := valueOf(srv.metrics.limits.WithLabelValues(limitPerIP)); n != 1 {
		t.Errorf("limits_total{%s} is %v", limitPerIP, n)
	}
}
