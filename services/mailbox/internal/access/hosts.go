package access

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/sluice-mail/sluice/services/mailbox/internal/problem"
)

// Hosts are the names under which the service is reached; "*" is every name. Addresses and localhost always are.
//
// A page of somebody else whose name is made to resolve to our address (DNS rebinding) is of one origin with us for the
// browser, and could read what only this machine may. It cannot help naming itself in Host, however.
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
