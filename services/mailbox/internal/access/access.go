// Package access controls who may do what. Its handlers wrap the whole service: Client finds the client's address, Hosts
// checks the host name in the request, Rates limits requests, and Access finds which mailboxes a token gives access to.
//
// The rights of a request are in its context. A handler asks
//
//	access.Of(r.Context()).May(token.Read, mailbox)
//
// and if the answer is no, it answers 404, never 403, so that strangers do not learn which mailboxes exist.
package access

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sluice-mail/sluice/services/internal/token"
)

// Access checks tokens.
type Access struct {
	keys token.Keys // nil: who knows the address reads the mailbox
	now  func() time.Time
}

// Open lets everybody who knows a mailbox's address read and delete its mail.
func Open() *Access { return &Access{now: time.Now} }

// ByToken gives access to requests with a token that is signed by one of the secrets.
func ByToken(secrets string) (*Access, error) {
	keys, err := token.ParseKeys(secrets)
	if err != nil {
		return nil, err
	}
	return &Access{keys: keys, now: time.Now}, nil
}

// IsOpen says whether no token is needed.
func (a *Access) IsOpen() bool { return a.keys == nil }

// Grant is what a request may do. The zero value allows nothing.
type Grant struct {
	all    bool
	claims *token.Claims
}

// May says whether the request may do something in a mailbox, which is given in its one form.
func (g Grant) May(right token.Right, mailbox string) bool {
	return g.all || g.claims.May(right, mailbox)
}

// Known says whether there was a valid token, or none is needed. Otherwise the answer is 401.
func (g Grant) Known() bool { return g.all || g.claims != nil }

// Mailboxes are those that the request's token names one by one, for the start page.
func (g Grant) Mailboxes() []string {
	if g.claims == nil {
		return nil
	}
	return g.claims.Mailboxes
}

// Expires is when the grant ends; zero: it does not.
func (g Grant) Expires() time.Time {
	if g.claims == nil {
		return time.Time{}
	}
	return g.claims.ExpiresAt.Add(token.Leeway)
}

type grantKey struct{}

// Of returns what the request with that context may do.
func Of(ctx context.Context) Grant {
	g, _ := ctx.Value(grantKey{}).(Grant)
	return g
}

// With puts a grant into a context.
func With(ctx context.Context, g Grant) context.Context { return context.WithValue(ctx, grantKey{}, g) }

// Everything is the grant of open access.
func Everything() Grant { return Grant{all: true} }

// Handler finds out what each request may do. A token that is not valid is none.
func (a *Access) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(With(r.Context(), a.grant(r))))
	})
}

func (a *Access) grant(r *http.Request) Grant {
	if a.IsOpen() {
		return Everything()
	}
	text := bearer(r)
	if text == "" {
		cookie, err := r.Cookie(cookieName(r))
		if err != nil || !safe(r.Method) && !sameOrigin(r) {
			return Grant{}
		}
		text = cookie.Value
	}
	claims, err := a.keys.Verify(text, a.now())
	if err != nil {
		return Grant{}
	}
	return Grant{claims: claims}
}

func bearer(r *http.Request) string {
	scheme, text, found := strings.Cut(r.Header.Get("Authorization"), " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(text)
}

func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// sameOrigin: a browser adds a cookie to requests of any page. So a request with only a cookie may change something only if the
// browser says that it comes from one of the inbox's own pages. Requests that say they come from other sites have been
// refused before; this is for browsers that say nothing.
func sameOrigin(r *http.Request) bool {
	if r.Header.Get("Sec-Fetch-Site") == "same-origin" {
		return true
	}
	origin, err := url.Parse(r.Header.Get("Origin"))
	return err == nil && origin.Host != "" && origin.Host == r.Host
}

// ErrToken means that a token is not valid: made by somebody else, or expired.
var ErrToken = errors.New("the token is invalid or has expired")
