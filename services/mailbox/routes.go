package mailbox

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/services/mailbox/internal/api"
	"github.com/sluice-mail/sluice/services/mailbox/internal/inbucket"
	"github.com/sluice-mail/sluice/services/mailbox/internal/problem"
	"github.com/sluice-mail/sluice/services/mailbox/internal/push"
	"github.com/sluice-mail/sluice/services/mailbox/internal/requests"
	"github.com/sluice-mail/sluice/services/mailbox/internal/safehtml"
	"github.com/sluice-mail/sluice/services/mailbox/internal/web"
)

// routes makes the only mux; it shows which handler answers which path. Every pattern names a method, and there is no
// catch-all: requests.Routes answers all other requests with 404 or 405.
func (s *Service) routes() (http.Handler, error) {
	mux := http.NewServeMux()
	s.access.Mount(mux) // POST /login, /logout
	sanitiser := safehtml.New()
	a := api.New(mux, api.Deps{Reader: s.reader, Names: s.names, Logger: s.deps.Logger, Sanitise: sanitiser.Text, Waiter: s.hub})
	mux.Handle("GET "+push.Path, s.hub)
	a.Describe(push.Operation())
	inbucket.Mount(mux, inbucket.Deps{Reader: s.reader, Names: s.names, Logger: s.deps.Logger})
	if err := a.Docs(mux); err != nil { // last: other parts describe themselves before
		return nil, err
	}
	pages, err := web.New(web.Deps{
		Reader: s.reader, Names: s.names, Sanitiser: sanitiser, Logger: s.deps.Logger,
		Tokens: !s.access.IsOpen(), Domain: s.cfg.Naming.Primary,
	})
	if err != nil {
		return nil, err
	}
	pages.Mount(mux)
	return requests.Compress(pages.Lost(mux, requests.Routes(mux)))
}

// crossOrigin refuses requests that pages of other sites make a browser send, except those that change nothing.
func crossOrigin(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		problem.Write(w, http.StatusForbidden, "This request comes from a page of another site.")
	}))
	return protection.Handler(next)
}

// newLimited counts requests that were refused for coming too often.
func newLimited(reg prometheus.Registerer) func() {
	limited := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "sluice_mailbox_limited_total",
		Help: "Requests answered with 429 because their client made too many.",
	})
	reg.MustRegister(limited)
	return limited.Inc
}
