package access

import (
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/sluice-mail/sluice/services/mailbox/internal/problem"
)

const (
	// burst is how many seconds' worth of requests a client may make at the same time.
	burst = 4
	// maxClients bounds the number of clients that are counted separately.
	maxClients = 50_000
)

// Rates bounds the requests of one client: an IPv4 address, or an IPv6 /64, which usually belongs to one customer.
type Rates struct {
	perSecond int
	now       func() time.Time
	limited   func()

	mu      sync.Mutex
	clients map[netip.Prefix]*rate.Limiter
}

// NewRates allows each client so many requests per second, and four times as many at once; 0 allows all. limited is
// called for each request that is refused.
func NewRates(perSecond int, limited func()) *Rates {
	return &Rates{perSecond: perSecond, now: time.Now, limited: limited, clients: make(map[netip.Prefix]*rate.Limiter)}
}

// Handler answers 429 to clients that make too many requests.
func (l *Rates) Handler(next http.Handler) http.Handler {
	if l.perSecond <= 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if wait := l.take(Network(Client(r.Context()))); wait > 0 {
			l.limited()
			w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
			problem.Write(w, http.StatusTooManyRequests, "Too many requests from this address; try again in a moment.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// take returns how long to wait, 0 when the request may pass.
func (l *Rates) take(client netip.Prefix) time.Duration {
	now := l.now()
	l.mu.Lock()
	limiter := l.clients[client]
	if limiter == nil {
		if len(l.clients) >= maxClients {
			l.sweep(now)
		}
		limiter = rate.NewLimiter(rate.Limit(l.perSecond), burst*l.perSecond)
		l.clients[client] = limiter
	}
	l.mu.Unlock()
	wanted := limiter.ReserveN(now, 1)
	wait := wanted.DelayFrom(now)
	if wait > 0 {
		wanted.CancelAt(now)
	}
	return wait
}

// sweep forgets clients that have their full allowance, or all clients if there are none of these. So a flood of addresses cannot
// use up memory; its only effect is that all clients get a fresh allowance.
func (l *Rates) sweep(now time.Time) {
	for client, limiter := range l.clients {
		if limiter.TokensAt(now) >= float64(burst*l.perSecond) {
			delete(l.clients, client)
		}
	}
	if len(l.clients) >= maxClients {
		clear(l.clients)
	}
}

// Network is what counts as one client: an IPv4 address, or an IPv6 /64.
func Network(addr netip.Addr) netip.Prefix {
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	network, _ := addr.Prefix(bits) // an invalid address: all who cannot be told apart are one client
	return network
}
