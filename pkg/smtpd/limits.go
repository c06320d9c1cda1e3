package smtpd

import (
	"net/netip"
	"sync"
	"time"
)

// Names of limits, the label of sluice_smtp_limits_total.
const (
	limitConns  = "conns"
	limitPerIP  = "conns_per_ip"
	limitPerNet = "conns_per_net"
	limitRate   = "conn_rate"
)

// rateEntries bounds the memory of the rate limit; a flood from more addresses than this starts a new window.
const rateEntries = 1 << 17

// limits counts connections: all of them, per address and per network, and new ones per minute.
type limits struct {
	conns, perIP, perNet, rate int
	exempt                     []netip.Prefix

	mu      sync.Mutex
	total   int
	byIP    map[netip.Addr]int32
	byNet   map[netip.Prefix]int32
	rateMap map[netip.Addr]int32
	window  time.Time // when rateMap was begun
}

func newLimits(cfg *Config) *limits {
	return &limits{
		conns: cfg.MaxConns, perIP: cfg.MaxConnsPerIP, perNet: cfg.MaxConnsPerNet, rate: cfg.ConnRate,
		exempt:  cfg.LimitExempt,
		byIP:    make(map[netip.Addr]int32),
		byNet:   make(map[netip.Prefix]int32),
		rateMap: make(map[netip.Addr]int32),
	}
}

// enter counts one more connection, before anything is known about the client. It names the limit hit.
func (l *limits) enter() (limit string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= l.conns {
		return limitConns
	}
	l.total++
	return ""
}

// leave undoes enter.
func (l *limits) leave() {
	l.mu.Lock()
	l.total--
	l.mu.Unlock()
}

// overloaded says whether nine tenths of all connections are in use: the time for shorter timeouts.
func (l *limits) overloaded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total*10 >= l.conns*9
}

// enterClient counts a connection of the client's address (behind a load balancer: the address it reported).
// counted says whether leaveClient must be called; limit names the limit hit.
func (l *limits) enterClient(a netip.Addr, now time.Time) (counted bool, limit string) {
	a = a.Unmap()
	if !a.IsValid() || inAny(l.exempt, a) {
		return false, ""
	}
	network := networkOf(a)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.rate > 0 && l.tooFast(a, now):
		return false, limitRate
	case l.perIP > 0 && int(l.byIP[a]) >= l.perIP:
		return false, limitPerIP
	case l.perNet > 0 && int(l.byNet[network]) >= l.perNet:
		return false, limitPerNet
	}
	l.byIP[a]++
	l.byNet[network]++
	return true, ""
}

// tooFast counts a into the current minute.
func (l *limits) tooFast(a netip.Addr, now time.Time) bool {
	if now.Sub(l.window) >= time.Minute || len(l.rateMap) >= rateEntries {
		clear(l.rateMap)
		l.window = now
	}
	l.rateMap[a]++
	return int(l.rateMap[a]) > l.rate
}

// leaveClient undoes enterClient.
func (l *limits) leaveClient(a netip.Addr) {
	a = a.Unmap()
	network := networkOf(a)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byIP[a]--; l.byIP[a] <= 0 {
		delete(l.byIP, a)
	}
	if l.byNet[network]--; l.byNet[network] <= 0 {
		delete(l.byNet, network)
	}
}

// networkOf is the /24 or /64 an address is in: what one party usually holds.
func networkOf(a netip.Addr) netip.Prefix {
	bits := 24
	if a.Is6() {
		bits = 64
	}
	p, err := a.WithZone("").Prefix(bits)
	if err != nil {
		return netip.PrefixFrom(a, a.BitLen())
	}
	return p
}
