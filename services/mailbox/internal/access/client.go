package access

import (
	"context"
	"net/http"
	"net/netip"
	"strings"

	"github.com/sluice-mail/sluice/pkg/env"
)

// Proxies are the networks of load balancers, whose X-Forwarded-For and X-Forwarded-Proto are believed.
type Proxies env.CIDRs

// origin is where a request comes from.
type origin struct {
	addr  netip.Addr
	https bool
}

type originKey struct{}

// Client is the address of the client; invalid when it is unknown.
func Client(ctx context.Context) netip.Addr {
	o, _ := ctx.Value(originKey{}).(origin)
	return o.addr
}

// IsHTTPS says whether the client's own connection is encrypted, by this service or by a trusted load balancer.
func IsHTTPS(r *http.Request) bool {
	o, _ := r.Context().Value(originKey{}).(origin)
	return r.TLS != nil || o.https
}

// Handler finds out where each request comes from.
func (p Proxies) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), originKey{}, p.origin(r))))
	})
}

// origin goes back through the chain of proxies, the nearest first, as long as they are trusted. The client is the address that the
// last trusted proxy names. The client itself may have written any earlier entries of the header.
func (p Proxies) origin(r *http.Request) origin {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return origin{}
	}
	o := origin{addr: peer.Addr().Unmap().WithZone("")}
	if !p.have(o.addr) {
		return o
	}
	o.https = r.Header.Get("X-Forwarded-Proto") == "https"
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && p.have(o.addr); i-- {
		addr, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		o.addr = addr.Unmap().WithZone("")
	}
	return o
}

func (p Proxies) have(addr netip.Addr) bool {
	for _, network := range p {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}
