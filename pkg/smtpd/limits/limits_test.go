package limits

import (
	"net/netip"
	"testing"
	"time"
)

func TestLimitsCountAndForget(t *testing.T) {
	l := New(Config{Conns: 2, PerIP: 2, PerNet: 3, Exempt: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	for i, want := range []string{"", "", Conns} {
		if got := l.Enter(); got != want {
			t.Fatalf("connection %d: limit %q, want %q", i+1, got, want)
		}
	}
	l.Leave()
	if l.Enter() != "" {
		t.Fatal("a place that was left is not free")
	}
	now := time.Now()
	enter := func(addr string) string {
		_, limit := l.EnterClient(netip.MustParseAddr(addr), now)
		return limit
	}
	for _, step := range []struct{ addr, want string }{
		{"192.0.2.1", ""}, {"192.0.2.1", ""}, {"192.0.2.1", PerIP},
		{"192.0.2.2", ""}, {"192.0.2.3", PerNet},
		{"::ffff:192.0.2.1", PerIP}, // the same address in IPv6 clothes
		{"2001:db8:1:2::1", ""}, {"2001:db8:1:2:ffff::2", ""}, {"2001:db8:1:2:3::3", ""}, {"2001:db8:1:2:4::4", PerNet},
		{"2001:db8:1:3::1", ""},
		{"10.1.1.1", ""}, {"10.1.1.1", ""}, {"10.1.1.1", ""}, {"10.1.1.1", ""}, // exempt
	} {
		if got := enter(step.addr); got != step.want {
			t.Fatalf("%s: limit %q, want %q", step.addr, got, step.want)
		}
	}
	for _, a := range []string{"192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8:1:2::1", "2001:db8:1:2:ffff::2", "2001:db8:1:2:3::3", "2001:db8:1:3::1"} {
		l.LeaveClient(netip.MustParseAddr(a))
	}
	if len(l.byIP) != 0 || len(l.byNet) != 0 {
		t.Fatalf("left behind: %v %v", l.byIP, l.byNet)
	}
}

func TestConnRateIsPerMinuteAndAddress(t *testing.T) {
	l := New(Config{Conns: 10, Rate: 2})
	a, b, now := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), time.Now()
	enter := func(a netip.Addr, at time.Time) string { _, limit := l.EnterClient(a, at); return limit }
	for i, want := range []string{"", "", Rate} {
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

// One /64 is one party: it has more addresses than can be counted.
func TestConnRateCountsIPv6ByNetwork(t *testing.T) {
	l := New(Config{Conns: 10, Rate: 10})
	a, now := netip.MustParseAddr("2001:db8:1:2::1"), time.Now()
	refused := 0
	for range 1000 {
		if _, limit := l.EnterClient(a, now); limit == Rate {
			refused++
		}
		a = a.Next()
	}
	if refused != 990 {
		t.Errorf("%d of 1,000 connections of one /64 refused, want 990", refused)
	}
}

// A flood from more networks than are remembered frees nobody but those it pushes out, one for each.
func TestFullRateMapFreesFew(t *testing.T) {
	l := New(Config{Conns: 10, Rate: 1})
	now := time.Now()
	enter := func(i int) string {
		_, limit := l.EnterClient(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now)
		return limit
	}
	for i := range rateEntries + 100 {
		enter(i)
	}
	free := 0
	for i := range 1000 {
		if enter(i) == "" {
			free++
		}
	}
	if free > 50 || len(l.recent) > rateEntries {
		t.Errorf("%d of 1,000 addresses were forgotten; %d entries", free, len(l.recent))
	}
}

// An address may come with a zone, which says nothing about the client, and link-local neighbours share no network.
func TestZonesAndLinkLocal(t *testing.T) {
	l := New(Config{Conns: 10, PerIP: 1, PerNet: 1, Exempt: []netip.Prefix{netip.MustParsePrefix("fd00::/8")}})
	enter := func(a string) string {
		_, limit := l.EnterClient(netip.MustParseAddr(a), time.Time{})
		return limit
	}
	for _, step := range []struct{ addr, want string }{
		{"fe80::1%eth0", ""}, {"fe80::1%eth1", PerIP}, {"fe80::2%eth0", ""},
		{"fd00::1%eth0", ""}, {"fd00::1%eth0", ""},
	} {
		if got := enter(step.addr); got != step.want {
			t.Errorf("%s: limit %q, want %q", step.addr, got, step.want)
		}
	}
	l.LeaveClient(netip.MustParseAddr("fe80::1%eth0"))
	l.LeaveClient(netip.MustParseAddr("fe80::2%eth0"))
	if _, addresses, networks := l.Held(); addresses != 0 || networks != 0 {
		t.Errorf("left behind: %d addresses, %d networks", addresses, networks)
	}
}
