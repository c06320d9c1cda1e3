package lists

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return now }

func deny(kind Kind, value string) Name  { return Name{Kind: kind, Value: value} }
func allow(kind Kind, value string) Name { return Name{Allow: true, Kind: kind, Value: value} }

func set(entries map[Name]Entry) *Set {
	b := NewBuilder()
	for n, e := range entries {
		b.Set(n, e)
	}
	return b.Freeze()
}

// matched is the code of the entry that denies m, or 0.
func matched(s *Set, m Mail) int {
	if e, _ := s.Match(m, clock); e != nil {
		return e.Code
	}
	return 0
}

func mail() Mail {
	return Mail{Client: netip.MustParseAddr("192.0.2.7"), Helo: "mail.sender.example", Sender: "ann@news.sender.example",
		Domain: "news.sender.example", Recipient: "bob@example.com"}
}

func TestWhatMatches(t *testing.T) {
	for _, n := range []Name{deny(Network, "192.0.2.0/24"), deny(Network, "192.0.2.7/32"), deny(Network, "0.0.0.0/0"), deny(Helo, "mail.sender.example"),
		deny(Helo, "*.sender.example"), deny(Helo, "*.example"), deny(Sender, "ann@news.sender.example"), deny(Domain, "news.sender.example"),
		deny(Domain, "*.sender.example"), deny(Recipient, "bob@example.com")} {
		if got := matched(set(map[Name]Entry{n: {Code: 550}}), mail()); got != 550 {
			t.Errorf("%v does not match", n)
		}
	}
	for _, n := range []Name{deny(Network, "192.0.3.0/24"), deny(Network, "192.0.2.0/30"), deny(Network, "::/0"), deny(Helo, "sender.example"), deny(Helo, "*.mail.sender.example"),
		deny(Sender, "bob@example.com"), deny(Domain, "sender.example"), deny(Domain, "*.news.sender.example"), deny(Recipient, "*.com"), deny(Network, "nonsense")} {
		if got := matched(set(map[Name]Entry{n: {Code: 550}}), mail()); got != 0 {
			t.Errorf("%v matches", n)
		}
	}
	mapped := mail()
	mapped.Client = netip.MustParseAddr("::ffff:192.0.2.7")
	if matched(set(map[Name]Entry{deny(Network, "192.0.2.0/24"): {Code: 550}}), mapped) == 0 {
		t.Error("an IPv4 address in IPv6 is not found")
	}
	var none *Set
	if denies(none, mail(), clock) || none.Has(Helo) {
		t.Error("a nil set is not empty")
	}
}

// Whatever denies: one entry that allows is enough.
func TestAllowBeatsDeny(t *testing.T) {
	entries := map[Name]Entry{deny(Network, "192.0.2.7/32"): {Code: 550}, deny(Recipient, "bob@example.com"): {Code: 550}, deny(Helo, "mail.sender.example"): {Code: 450}}
	for _, n := range []Name{allow(Network, "192.0.0.0/16"), allow(Helo, "*.sender.example"), allow(Sender, "ann@news.sender.example"),
		allow(Domain, "news.sender.example"), allow(Recipient, "bob@example.com")} {
		b := NewBuilder()
		for denied, e := range entries {
			b.Set(denied, e)
		}
		b.Set(n, Entry{})
		if got := matched(b.Freeze(), mail()); got != 0 {
			t.Errorf("%v does not allow: %d", n, got)
		}
		b.Remove(n)
		if got := matched(b.Freeze(), mail()); got != 550 {
			t.Errorf("without %v: %d", n, got)
		}
	}
}

func TestTheSmallestNetworkSpeaks(t *testing.T) {
	s := set(map[Name]Entry{deny(Network, "192.0.0.0/8"): {Code: 550}, deny(Network, "192.0.2.0/24"): {Code: 450}, deny(Helo, "mail.sender.example"): {Code: 554}})
	if got := matched(s, mail()); got != 450 {
		t.Errorf("got %d", got)
	}
}

// An entry that has expired counts for nothing at once, and is gone later.
func TestEntriesExpire(t *testing.T) {
	b := NewBuilder()
	b.Set(deny(Network, "192.0.2.0/24"), Entry{Code: 550, Expires: now})
	b.Set(deny(Network, "192.0.0.0/16"), Entry{Code: 450, Expires: now.Add(time.Nanosecond)})
	b.Set(allow(Helo, "*.sender.example"), Entry{Expires: now.Add(-time.Hour)})
	s := b.Freeze()
	if got := matched(s, mail()); got != 450 {
		t.Errorf("got %d", got)
	}
	if b.Expire(now.Add(-2 * time.Hour)) {
		t.Error("something expired too early")
	}
	if !b.Expire(now) || b.Expire(now) {
		t.Error("it did not expire once")
	}
	after := b.Freeze()
	if matched(after, mail()) != 450 || after.Count(false, Network) != 1 || after.Count(true, Helo) != 0 || after.patterns {
		t.Errorf("after: %v", after.counts)
	}
	if s.Count(false, Network) != 2 {
		t.Error("a frozen set has changed")
	}
}

// The tree of networks answers as a list of them would, whatever was added and removed, in whatever order.
func TestNetworksAsAList(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	random := func() netip.Addr { // few bits, so that networks meet
		if rnd.IntN(2) == 0 {
			return netip.AddrFrom4([4]byte{byte(rnd.IntN(4)) << 6, byte(rnd.IntN(2)), 0, byte(rnd.IntN(4))})
		}
		return netip.AddrFrom16([16]byte{0: byte(rnd.IntN(2)) << 7, 7: byte(rnd.IntN(4)), 8: byte(rnd.IntN(2)) << 7, 15: byte(rnd.IntN(4))})
	}
	b := NewBuilder()
	list := make(map[netip.Prefix]int)
	for step := range 5_000 {
		addr := random()
		prefix := netip.PrefixFrom(addr, rnd.IntN(addr.BitLen()+1)).Masked()
		if rnd.IntN(3) == 0 {
			delete(list, prefix)
			b.Remove(deny(Network, prefix.String()))
		} else {
			list[prefix] = step
			b.Set(deny(Network, prefix.String()), Entry{Code: step})
		}
		asked, want, length := random(), 0, -1
		for p, code := range list {
			if p.Contains(asked) && p.Bits() > length {
				want, length = code, p.Bits()
			}
		}
		s := b.Freeze()
		if got := matched(s, Mail{Client: asked}); got != want || s.Count(false, Network) != len(list) {
			t.Fatalf("step %d: %s is denied by %d, want %d; %d networks, want %d", step, asked, got, want, s.Count(false, Network), len(list))
		}
	}
}

// many is a hundred thousand entries of all kinds, each with a text of its own.
func many() *Builder {
	b := NewBuilder()
	for i := range 20_000 {
		e := func(what string) Entry {
			return Entry{Code: 550, Text: fmt.Sprintf("Mail from this %s is not taken, see case %d", what, i), Expires: now.Add(time.Hour)}
		}
		b.Set(deny(Network, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24+i%9).String()), e("network"))
		b.Set(deny(Helo, fmt.Sprintf("*.host%d.example", i)), e("host"))
		b.Set(deny(Sender, fmt.Sprintf("user%d@sender.example", i)), e("sender"))
		b.Set(deny(Domain, fmt.Sprintf("*.domain%d.example", i)), e("domain"))
		b.Set(deny(Recipient, fmt.Sprintf("user%d@example.com", i)), e("recipient"))
	}
	return b
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestHundredThousandEntriesFitInFiftyMegabytes(t *testing.T) {
	before := heap()
	b := many()
	s := b.Freeze()
	used := int64(heap()) - int64(before)
	if used > 50<<20 {
		t.Errorf("100,000 entries take %d MB", used>>20)
	}
	t.Logf("100,000 entries take %.1f MB", float64(used)/(1<<20))
	if matched(s, Mail{Recipient: "user7@example.com"}) != 550 {
		t.Error("one is missing")
	}
	runtime.KeepAlive(b)
}

// A change of the lists copies little, however long they are.
func TestChangeCopiesLittle(t *testing.T) {
	b := many()
	cost := testing.Benchmark(func(bench *testing.B) {
		for i := range bench.N {
			b.Set(deny(Network, "192.0.2.0/24"), Entry{Code: 450 + i%2})
			b.Set(deny(Sender, "new@sender.example"), Entry{Code: 450 + i%2})
			b.Freeze()
		}
	})
	if cost.AllocedBytesPerOp() > 100<<10 {
		t.Errorf("one change copies %d bytes", cost.AllocedBytesPerOp())
	}
}

// BenchmarkMatch is what the lists cost a RCPT: a mail that matches nothing looks longest.
func BenchmarkMatch(b *testing.B) {
	s := many().Freeze()
	m := Mail{Client: netip.MustParseAddr("10.7.7.7"), Helo: "a.mail.sender.example", Sender: "user@sender.example", Domain: "a.sender.example", Recipient: "nobody@example.com"}
	b.ReportAllocs()
	for b.Loop() {
		if denies(s, m, time.Now) {
			b.Fatal("matched")
		}
	}
}

func denies(s *Set, m Mail, now func() time.Time) bool {
	e, _ := s.Match(m, now)
	return e != nil
}
