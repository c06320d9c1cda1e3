package access

import (
	"net/http"
	"strings"
	"time"

	"github.com/sluice-mail/sluice/services/mailbox/internal/problem"
)

const (
	// maxForm bounds what is posted to /login, in bytes.
	maxForm = 16 << 10
	// The prefix makes a browser refuse the cookie unless it came over HTTPS, for this host alone (RFC 6265bis section
	// 4.1.3.2). Over plain HTTP it would refuse it always.
	secureCookie, plainCookie = "__Host-sluice", "sluice"
)

func cookieName(r *http.Request) string {
	if IsHTTPS(r) {
		return secureCookie
	}
	return plainCookie
}

// Mount adds login for browsers, whose EventSource cannot send a header: POST /login takes the form
// field "token" and sets a cookie, POST /logout deletes the cookie. Both answer 303 to "/", or 204 when JSON is wanted.
func (a *Access) Mount(mux *http.ServeMux) {
	mux.HandleFunc("POST /login", a.login)
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, cookie(r, "", time.Time{}))
		done(w, r)
	})
}

func (a *Access) login(w http.ResponseWriter, r *http.Request) {
	if a.IsOpen() {
		done(w, r)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	text := strings.TrimSpace(r.PostFormValue("token"))
	claims, err := a.keys.Verify(text, a.now())
	if err != nil && strings.Contains(r.Header.Get("Accept"), "text/html") { // a form that a person has sent
		http.Redirect(w, r, "/?login=failed", http.StatusSeeOther)
		return
	}
	if err != nil {
		problem.Write(w, http.StatusUnauthorized, "The token is invalid or has expired.")
		return
	}
	http.SetCookie(w, cookie(r, text, claims.ExpiresAt.Time))
	done(w, r)
}

// cookie is deleted by the browser when expires is zero.
func cookie(r *http.Request, value string, expires time.Time) *http.Cookie {
	c := &http.Cookie{
		Name: cookieName(r), Value: value, Path: "/", Expires: expires,
		HttpOnly: true, Secure: IsHTTPS(r), SameSite: http.SameSiteStrictMode,
	}
	if expires.IsZero() {
		c.MaxAge = -1
	}
	return c
}

func done(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
