package access

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/sluice-mail/sluice/services/mailbox/internal/problem"
)

// Hosts are the host names that the service answers to; "*" is every name. It always answers to IP addresses and localhost.
//
// With DNS rebinding, an attacker makes the name of their own page resolve to this service's address. For the browser the page then has
// the same origin as the service, and could read everything that the browser's machine may read. But the request has the
// attacker's name in Host.
type Hosts []string

// Handler refuses requests for other names.
func (h Hosts) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !h.have(r.Host) {
			problem.Write(w, http.StatusMisdirectedRequest, "This service does not answer to that host name; its operator can add the name to MAILBOX_HOSTS.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (h Hosts) have(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if _, err := netip.ParseAddr(host); err == nil || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	for _, name := range h {
		if name == "*" || strings.EqualFold(name, host) {
			return true
		}
	}
	return false
}
