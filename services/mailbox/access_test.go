package mailbox_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mail/sluice/pkg/env"
	"github.com/sluice-mail/sluice/services/internal/reading/readingtest"
	"github.com/sluice-mail/sluice/services/internal/token"
	"github.com/sluice-mail/sluice/services/mailbox"
)

const secret, older = "0123456789abcdef0123456789abcdef", "ffffffffffffffffffffffffffffffff"

func sign(t *testing.T, secrets string, c token.Claims) string {
	t.Helper()
	keys, err := token.ParseKeys(secrets)
	if err != nil {
		t.Fatal(err)
	}
	text, err := keys.Sign(c, time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func byToken(c *mailbox.Config) { c.Access, c.Secret = "token", secret+","+older }

// TestTokensOpenTheirMailboxes and no others, which look as if they were not there.
func TestTokensOpenTheirMailboxes(t *testing.T) {
	in := start(t, byToken)
	d := describe(t, in)
	id := readingtest.Put(t, in.store, "Subject: one\r\n\r\n", ann, ben).String()
	readAnn := sign(t, secret, token.Claims{Mailboxes: []string{ann}, Do: []token.Right{token.Read}})
	all := sign(t, older, token.Claims{Domains: []string{"example.com"}, Do: []token.Right{token.Read, token.Delete}})
	for _, c := range []struct {
		what, token, method, path string
		status                    int
	}{
		{"no token", "", "GET", list(ann), http.StatusUnauthorized},
		{"no token, no address", "", "GET", list("x"), http.StatusUnauthorized},
		{"a token of somebody else", sign(t, strings.Repeat("z", 32), token.Claims{Mailboxes: []string{ann}, Do: []token.Right{token.Read}}), "GET", list(ann), http.StatusUnauthorized},
		{"garbage", "x.y.z", "GET", list(ann), http.StatusUnauthorized},
		{"its mailbox", readAnn, "GET", list(ann), http.StatusOK},
		{"its mailbox, written otherwise", readAnn, "GET", list("ANN@Example.COM"), http.StatusOK},
		{"its mail", readAnn, "GET", list(ann) + "/" + id, http.StatusOK},
		{"another mailbox", readAnn, "GET", list(ben), http.StatusNotFound},
		{"a mail of both, there", readAnn, "GET", list(ben) + "/" + id, http.StatusNotFound},
		{"deleting with a token for reading", readAnn, "DELETE", list(ann) + "/" + id, http.StatusNotFound},
		{"emptying with a token for reading", readAnn, "DELETE", list(ann), http.StatusNotFound},
		{"a domain, by the older secret", all, "GET", list(ben), http.StatusOK},
		{"another domain", all, "GET", list("ann@example.net"), http.StatusNotFound},
		{"a domain below", all, "GET", list("ann@sub.example.com"), http.StatusNotFound},
		{"deleting", all, "DELETE", list(ben) + "/" + id, http.StatusOK},
	} {
		t.Run(c.what, func(t *testing.T) {
			var headers []string
			if c.token != "" {
				headers = []string{"Authorization", "Bearer " + c.token}
			}
			a := in.do(c.method, c.path, "", headers...)
			if a.StatusCode != c.status {
				t.Errorf("status %d, want %d: %s", a.StatusCode, c.status, a.body)
			}
			d.check(a)
		})
	}
}

// TestLogin: a browser shows its token once, and has a cookie that other sites' pages cannot use.
func TestLogin(t *testing.T) {
	in := start(t, byToken)
	id := readingtest.Put(t, in.store, "Subject: one\r\n\r\n", ann).String()
	form := url.Values{"token": {sign(t, secret, token.Claims{Mailboxes: []string{ann}, Do: []token.Right{token.Read, token.Delete}})}}.Encode()
	const formType = "application/x-www-form-urlencoded"
	in.status(in.do("POST", "/login", "token=wrong", "Content-Type", formType), http.StatusUnauthorized)
	in.status(in.do("POST", "/login", form, "Content-Type", formType, "Sec-Fetch-Site", "cross-site"), http.StatusForbidden)
	a := in.status(in.do("POST", "/login", form, "Content-Type", formType, "Sec-Fetch-Site", "same-origin"), http.StatusSeeOther)
	cookies := a.Cookies()
	if len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteStrictMode || cookies[0].Secure {
		t.Fatalf("%v", cookies)
	}
	cookie := cookies[0].Name + "=" + cookies[0].Value
	in.status(in.get(list(ann), "Cookie", cookie), http.StatusOK)
	mail := list(ann) + "/" + id
	for what, headers := range map[string][]string{
		"another site":         {"Cookie", cookie, "Sec-Fetch-Site", "cross-site"},
		"another subdomain":    {"Cookie", cookie, "Sec-Fetch-Site", "same-site"},
		"another origin":       {"Cookie", cookie, "Origin", "https://evil.example"},
		"an opaque origin":     {"Cookie", cookie, "Origin", "null"},
		"a cookie by itself":   {"Cookie", cookie},
		"no cookie, our pages": {"Sec-Fetch-Site", "same-origin"},
	} {
		if a := in.do("DELETE", mail, "", headers...); a.StatusCode != http.StatusForbidden && a.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: status %d", what, a.StatusCode)
		}
	}
	in.status(in.do("DELETE", mail, "", "Cookie", cookie, "Sec-Fetch-Site", "same-origin"), http.StatusOK)
	out := in.status(in.do("POST", "/logout", "", "Cookie", cookie, "Sec-Fetch-Site", "same-origin"), http.StatusSeeOther)
	if c := out.Cookies(); len(c) != 1 || c[0].MaxAge >= 0 {
		t.Errorf("%v", c)
	}
}

// TestOpenInboxCannotBeEmptiedByOtherSites: nothing but the address is needed, so nothing but the origin protects it.
func TestOpenInboxCannotBeEmptiedByOtherSites(t *testing.T) {
	in := start(t, nil)
	readingtest.Put(t, in.store, "Subject: one\r\n\r\n", ann)
	for _, path := range []string{list(ann), "/inbucket/api/v1/mailbox/" + ann} {
		a := in.do("DELETE", path, "", "Sec-Fetch-Site", "cross-site")
		if a.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d", path, a.StatusCode)
		}
	}
	in.status(in.do("DELETE", list(ann), ""), http.StatusOK) // no browser
}

func TestHostMustBeKnown(t *testing.T) {
	in := start(t, func(c *mailbox.Config) { c.Hosts = env.List{"inbox.example.org"} })
	for host, status := range map[string]int{
		"localhost": http.StatusOK, "localhost:8025": http.StatusOK, "127.0.0.1": http.StatusOK, "[::1]:8025": http.StatusOK,
		"192.0.2.1:80": http.StatusOK, "Inbox.Example.org.": http.StatusOK, "inbox.example.org:8025": http.StatusOK,
		"evil.example": http.StatusMisdirectedRequest, "localhost.evil.example": http.StatusMisdirectedRequest,
		"127.0.0.1.evil.example": http.StatusMisdirectedRequest, "evil.example:127": http.StatusMisdirectedRequest,
	} {
		if a := in.get("/openapi.json", "Host", host); a.StatusCode != status {
			t.Errorf("%s: %d, want %d", host, a.StatusCode, status)
		}
	}
}

// TestOneClientCannotTakeAll: and whoever is behind a proxy that we do not know is that proxy.
func TestOneClientCannotTakeAll(t *testing.T) {
	ask := func(in *inbox, forwarded string) int {
		var limited int
		for range 20 {
			a := in.get("/openapi.json", "X-Forwarded-For", forwarded, "If-None-Match", "*")
			if a.StatusCode == http.StatusTooManyRequests {
				limited++
				if a.Header.Get("Retry-After") == "" {
					t.Error("429 without Retry-After")
				}
			}
		}
		return limited
	}
	in := start(t, func(c *mailbox.Config) { c.Rate = 1; c.Proxies = env.CIDRs{} })
	if ask(in, "192.0.2.1") == 0 || ask(in, "192.0.2.2") < 15 {
		t.Error("X-Forwarded-For of a stranger is believed, or nobody is limited")
	}
	var loopback env.CIDRs
	if err := loopback.Decode("loopback"); err != nil {
		t.Fatal(err)
	}
	in = start(t, func(c *mailbox.Config) { c.Rate = 1; c.Proxies = loopback })
	if ask(in, "192.0.2.1") == 0 {
		t.Error("a client behind a proxy is not limited")
	}
	if a := in.get("/openapi.json", "X-Forwarded-For", "192.0.2.2"); a.StatusCode != http.StatusOK {
		t.Error("another client behind the same proxy is limited, too")
	}
	if a := in.get("/openapi.json", "X-Forwarded-For", "192.0.2.77, 192.0.2.1"); a.StatusCode != http.StatusTooManyRequests {
		t.Error("a client escapes by naming somebody before himself")
	}
	if ask(in, "2001:db8::1") == 0 {
		t.Error("a client with IPv6 is not limited")
	}
	if a := in.get("/openapi.json", "X-Forwarded-For", "2001:db8::ffff"); a.StatusCode != http.StatusTooManyRequests {
		t.Error("each address of one /64 is a client of its own")
	}
}
