package requests

import (
	"net/http"
	"path"
	"strings"

	"github.com/sluice-mail/sluice/services/mailbox/internal/problem"
)

// Routes serves a mux. What the mux has no pattern for is answered by a problem: 405 when the path exists with another
// method, else 404. Nobody is redirected to a cleaned path: below /api and /inbucket a path is right or it is not there.
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

// unknown asks the mux what it would say.
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

// listener keeps what a handler says to itself.
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
