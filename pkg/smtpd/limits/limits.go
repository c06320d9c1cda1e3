// Package limits bounds the connections of an SMTP server: in total, per address, per network, and new ones per network in a
// minute.
package limits

import (
	"net/netip"
	"sync"
	"time"
)

// Names of limits, the label of sluice_smtp_limits_total.
const (
	Conns  = "conns"
	PerIP  = "conns_per_ip"
	PerNet = "conns_per_net"
	Rate   = "conn_rate"
)

// rateEntries bounds the memory of the rate limit. A flood from more networks than this pushes out one of them for each
// new one.
const rateEntries = 1 << 17

// Config is how much is allowed. Limits of 0 and below are off, but for Conns.
type Config struct {
	// Conns bounds all connections together.
	Conns int
	// PerIP and PerNet bound those of one address and of one /24 or /64.
	PerIP, PerNet int
	// Rate bounds the new ones in a minute of one IPv4 address or /64.
	Rate int
	// Exempt are networks of which only Conns counts the connections.
	Exempt []netip.Prefix
}

// Limits counts connections. It is safe for concurrent use.
type Limits struct {
	cfg Config

	mu     sync.Mutex
	total  int
	byIP   map[netip.Addr]int32
	byNet  map[netip.Prefix]int32
	recent map[netip.Prefix]int32 // new connections since window
	window time.Time
}

// New returns counts of nothing.
func New(cfg Config) *Limits {
	return &Limits{
		cfg:    cfg,
		byIP:   make(map[netip.Addr]int32),
		byNet:  make(map[netip.Prefix]int32),
		recent: make(map[netip.Prefix]int32),
	}
}

// Enter counts one more connection, before anything is known about the client. It names the limit hit.
func (l *Limits) Enter() (limit string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= l.cfg.Conns {
		return Conns
	}
	l.total++
	return ""
}

// Leave undoes Enter.
func (l *Limits) Leave() {
	l.mu.Lock()
	l.total--
	l.mu.Unlock()
}

// Overloaded says whether nine tenths of all connections are in use: the time for shorter timeouts.
func (l *Limits) Overloaded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total*10 >= l.cfg.Conns*9
}

// EnterClient counts a connection of the client's address (behind a load balancer: the address it reported).
// counted says whether LeaveClient must be called; limit names the limit hit.
func (l *Limits) EnterClient(a netip.Addr, now time.Time) (counted bool, limit string) {
	a = a.Unmap().WithZone("")
	if !a.IsValid() || InAny(l.cfg.Exempt, a) {
		return false, ""
	}
	network := NetworkOf(a)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.cfg.Rate > 0 && l.tooFast(a, now):
		return false, Rate
	case l.cfg.PerIP > 0 && int(l.byIP[a]) >= l.cfg.PerIP:
		return false, PerIP
	case l.cfg.PerNet > 0 && int(l.byNet[network]) >= l.cfg.PerNet:
		return false, PerNet
	}
	l.byIP[a]++
	l.byNet[network]++
	return true, ""
}

// tooFast counts one more connection of a party in the current minute. An IPv6 client has as many addresses as it likes.
func (l *Limits) tooFast(a netip.Addr, now time.Time) bool {
	if now.Sub(l.window) >= time.Minute {
		clear(l.recent)
		l.window = now
	}
	party := netip.PrefixFrom(a, a.BitLen())
	if a.Is6() {
		party = NetworkOf(a)
	}
	if _, known := l.recent[party]; !known && len(l.recent) >= rateEntries {
		for one := range l.recent { // in no order
			delete(l.recent, one)
			break
		}
	}
	l.recent[party]++
	return int(l.recent[party]) > l.cfg.Rate
}

// LeaveClient undoes EnterClient.
func (l *Limits) LeaveClient(a netip.Addr) {
	a = a.Unmap().WithZone("")
	network := NetworkOf(a)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byIP[a]--; l.byIP[a] <= 0 {
		delete(l.byIP, a)
	}
	if l.byNet[network]--; l.byNet[network] <= 0 {
		delete(l.byNet, network)
	}
}

// NetworkOf is the /24 or /64 an address is in: what one party usually holds. Addresses that are only meant for one link
// (fe80::/10) are each a party of their own: neighbours share no more than that prefix.
func NetworkOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	if a.Is6() && a.IsLinkLocalUnicast() {
		return netip.PrefixFrom(a, a.BitLen())
	}
	bits := 24
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.PrefixFrom(a, a.BitLen())
	}
	return p
}

// InAny reports whether one of the prefixes contains a.
func InAny(prefixes []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Held is how many connections, addresses and networks are counted now.
func (l *Limits) Held() (conns, addresses, networks int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total, len(l.byIP), len(l.byNet)
}
