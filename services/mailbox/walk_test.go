package mailbox_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sluice-mail/sluice/services/internal/reading/readingtest"
	"github.com/sluice-mail/sluice/services/internal/token"
	"github.com/sluice-mail/sluice/services/mailbox"
)

// hostile is what every parameter is given.
func hostile() []string {
	values := []string{
		"", " ", "0", "-1", "1", "200", "201", "99999999999999999999", "1e9", "0x10", "1.5", "NaN", "true", "null", "[]", "{}", "latest",
		"7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "00000000000000000000000000", "01jdfq4z2k8v3t6n5r7m9p0abc",
		ben, "ben@example.com\x00", "ben@EXAMPLE.com.", "@", "a@", "@b", "a@b@c", "ann%example.com", "\"ann\"@example.com", "ann@[127.0.0.1]",
		"ann@xn--", "ann@exämple.com", "änn@example.com", "ann+x@example.com", "../ben@example.com", "..%2f..", "ann@example.com/../ben@example.com",
		"'", "' OR '1'='1", "\"; DROP TABLE inbox; --", "%", "_", "\\", "%25", "a\r\nSet-Cookie: x=y", "\x00", "\xff\xfe", "\u202e", "\u0000", "😀",
		"60s", "61s", "-1s", "1h", "bytes=0-", "*", `W/"x"`, "<script>", "${jndi:ldap://x}", "{{7*7}}",
		strings.Repeat("a", 300) + "@example.com", strings.Repeat("9", 5000), strings.Repeat("é", 2000),
	}
	for b := range 32 {
		values = append(values, "x"+string(rune(b))+"y")
	}
	return values
}

// TestEveryParameterIsFuzzed walks over the description: each parameter of each operation is given hostile values, the
// others good ones. Nothing is a fault of ours, every error is as described, and no answer has anything of another mailbox.
func TestEveryParameterIsFuzzed(t *testing.T) {
	const secrets = "0123456789abcdef0123456789abcdef"
	for _, mode := range []string{"open", "token"} {
		t.Run(mode, func(t *testing.T) {
			in := start(t, func(c *mailbox.Config) { c.Access, c.Secret = mode, secrets })
			d := describe(t, in)
			for range 3 {
				readingtest.Put(t, in.store, withFile, ann)
			}
			readingtest.Put(t, in.store, "Subject: TOP-SECRET\r\n\r\nTOP-SECRET\r\n", ben)
			var headers []string
			if mode == "token" {
				headers = []string{"Authorization", "Bearer " + sign(t, secrets, token.Claims{Mailboxes: []string{ann}, Do: []token.Right{token.Read}})}
			}
			w := walker{t: t, in: in, d: d, headers: headers, mayFindBen: mode == "open"}
			for _, r := range d.routes {
				for i := range parameters(r) {
					for _, value := range hostile() {
						w.try(r, i, value)
					}
				}
			}
			t.Logf("%d requests, %d of them good", w.requests, w.good)
			if w.requests < 1000 || w.good < 50 {
				t.Errorf("only %d requests, %d of them good: this test has looked at nothing", w.requests, w.good)
			}
		})
	}
}

func parameters(r route) []map[string]any {
	var all []map[string]any
	list, _ := r.operation["parameters"].([]any)
	for _, p := range list {
		all = append(all, p.(map[string]any))
	}
	return all
}

type walker struct {
	t              *testing.T
	in             *inbox
	d              *description
	headers        []string
	mayFindBen     bool
	requests, good int
}

// try sends one operation with its parameter number at set to value.
func (w *walker) try(r route, at int, value string) {
	path, query, headers := r.template, url.Values{}, w.headers
	for i, p := range parameters(r) {
		name, place := p["name"].(string), p["in"].(string)
		given := map[string]string{"address": ann, "id": "latest", "n": "1"}[name]
		if i == at {
			given = value
		}
		switch {
		case place == "path" && given == "":
			path = strings.Replace(path, "{"+name+"}", "%20", 1) // an empty one is another path
		case place == "path":
			path = strings.Replace(path, "{"+name+"}", escape(given), 1)
		case i == at && place == "query":
			query.Set(name, given)
		case i == at && place == "header":
			if strings.ContainsFunc(given, func(c rune) bool { return c < ' ' || c > '~' }) {
				return // the client library sends no such header
			}
			headers = append(headers[:len(headers):len(headers)], name, given)
		}
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	if r.method == http.MethodDelete && strings.Contains(path, "/ben") {
		return
	}
	a := w.in.do(r.method, path, "", headers...)
	w.requests++
	if r.method == http.MethodDelete && a.StatusCode == http.StatusOK { // or nothing is left for the others
		readingtest.Put(w.t, w.in.store, withFile, ann)
	}
	what := fmt.Sprintf("%s %.200s", r.method, path)
	switch {
	case a.StatusCode >= 500:
		w.t.Errorf("%s: %d %s", what, a.StatusCode, a.body)
	case a.StatusCode >= 400:
		if a.Header.Get("Content-Type") != "application/problem+json" {
			w.t.Errorf("%s: %d is %s: %.200s", what, a.StatusCode, a.Header.Get("Content-Type"), a.body)
		}
	case a.StatusCode >= 300 && a.StatusCode != http.StatusNotModified:
		w.t.Errorf("%s: %d", what, a.StatusCode)
	default:
		w.good++
	}
	if a.Header.Get("Set-Cookie") != "" {
		w.t.Errorf("%s sets a cookie", what)
	}
	asksForBen := w.mayFindBen && strings.Contains(strings.ToLower(value), "ben@example.com")
	if strings.Contains(a.body, "TOP-SECRET") && !asksForBen {
		w.t.Errorf("%s shows another mailbox: %.300s", what, a.body)
	}
	w.d.check(a)
}

// escape encodes every byte that may mean something in a path.
func escape(text string) string {
	var out strings.Builder
	for i := range len(text) {
		fmt.Fprintf(&out, "%%%02X", text[i])
	}
	return out.String()
}
