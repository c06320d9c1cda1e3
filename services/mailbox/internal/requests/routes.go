package requests

import (
	"net/http"
	"path"
	"strings"

	"github.com/sluice-mail/sluice/services/mailbox/internal/problem"
)

// Routes serves a mux. A request without a matching pattern is answered with a problem: 405 when the path exists with another
// method, else 404. There are no redirects to a cleaned path: under /api and /inbucket a path must be exactly right.
func Routes(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern == "" || !clean(r.URL.Path) {
			unknown(mux, w, r)
			return
		}
		defer func() {
			if s, ok := r.Context().Value(seenKey{}).(*seen); ok && r.Pattern != "" {
				s.pattern = r.Pattern
			}
		}()
		mux.ServeHTTP(w, r)
	})
}

func clean(p string) bool {
	return p != "" && (path.Clean(p) == p || path.Clean(p)+"/" == p)
}

// unknown finds out how the mux would answer.
func unknown(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) {
	said := &listener{header: make(http.Header)}
	if clean(r.URL.Path) {
		mux.ServeHTTP(said, r)
	}
	if said.status == http.StatusMethodNotAllowed {
		w.Header()["Allow"] = said.header["Allow"]
		problem.Write(w, http.StatusMethodNotAllowed, "This method is not allowed here; the header Allow lists those that are.")
		return
	}
	if strings.HasPrefix(r.URL.Path, "/api/") {
		problem.Write(w, http.StatusNotFound, "There is nothing at this path; /openapi.json describes the API.")
		return
	}
	problem.Write(w, http.StatusNotFound, "There is nothing here.")
}

// listener is a ResponseWriter that keeps the answer of a handler instead of sending it.
type listener struct {
	header http.Header
	status int
}

func (l *listener) Header() http.Header { return l.header }

func (l *listener) WriteHeader(status int) {
	if l.status == 0 {
		l.status = status
	}
}

func (l *listener) Write(p []byte) (int, error) { return len(p), nil }
