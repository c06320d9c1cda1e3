package web_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/sluice-mail/sluice/services/internal/reading/readingtest"
	"github.com/sluice-mail/sluice/services/mailbox"
)

const page = "From: Eve <eve@example.org>\r\nTo: ann@example.com\r\nSubject: <img src=x onerror=pwned()>\r\nMIME-Version: 1.0\r\n" +
	"Content-Type: text/html\r\n\r\n<p>Hello</p><script>pwned()</script><img src=\"https://track.example/o.gif\">"

func TestEveryPageHasAStrictPolicy(t *testing.T) {
	s := start(t, nil)
	id := readingtest.Put(t, s.store, page, ann).String()
	for path, status := range map[string]int{
		"/": 200, "/open?address=%3Cscript%3E+%22": 422, "/inbox/ann@example.com": 200, "/inbox/ann@example.com?q=%22%3E%3Cscript%3E": 200,
		"/inbox/ann@example.com/empty": 200, "/inbox/ann@example.com/" + id: 200, "/inbox/ann@example.com/" + id + "?view=source": 200,
		"/inbox/ann@example.com/" + id + "?view=header": 200, "/inbox/ann@example.com/" + id + "?view=%3Cscript%3E": 200,
		"/inbox/ann@example.com/nothing": 404, "/nowhere": 404, "/inbox/%00": 404, "/assets/none.js": 404,
	} {
		a := s.get(path)
		if a.StatusCode != status {
			t.Errorf("%s: status %d, want %d", path, a.StatusCode, status)
		}
		want := "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
		if got := a.Header.Get("Content-Security-Policy"); got != want {
			t.Errorf("%s: policy %q", path, got)
		}
		if a.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: %v", path, a.Header)
		}
		found := regexp.MustCompile(`(?i)<[^>]* (style|on\w+)=[^>]*>|<img[^>]*>|[^>]*javascript:[^>]*>`).FindString(tags(a.body))
		if n := strings.Count(a.body, "<script"); found != "" || n != 1 {
			t.Errorf("%s: %d scripts, and %q in the page", path, n, found)
		}
	}
}

// tags is a page without its text.
func tags(page string) string {
	return strings.Join(regexp.MustCompile(`<[^>]*>`).FindAllString(page, -1), "\n")
}

func TestFrameHasItsOwnPolicy(t *testing.T) {
	s := start(t, nil)
	path := "/inbox/ann@example.com/" + readingtest.Put(t, s.store, page, ann).String() + "/html"
	a := s.get(path)
	const rest = "; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
	want := "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src data:" + rest
	if got := a.Header.Get("Content-Security-Policy"); a.StatusCode != 200 || got != want {
		t.Errorf("status %d, policy %q", a.StatusCode, got)
	}
	if a.Header.Get("Referrer-Policy") != "no-referrer" || a.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%v", a.Header)
	}
	if !strings.Contains(a.body, "<p>Hello</p>") || strings.Contains(a.body, "script>") || strings.Contains(a.body, "track") {
		t.Errorf("the frame: %s", a.body)
	}
	pictures := s.get(path + "?images=1")
	if got := pictures.Header.Get("Content-Security-Policy"); got != strings.Replace(want, "data:", "data: https: http:", 1) || !strings.Contains(pictures.body, "https://track.example/o.gif") {
		t.Errorf("after the click: policy %q, %s", got, pictures.body)
	}
}

func TestDeletingNeedsOneOfOurPages(t *testing.T) {
	s := start(t, nil)
	id := readingtest.Put(t, s.store, page, ann).String()
	for _, path := range []string{"/inbox/ann@example.com/" + id + "/delete", "/inbox/ann@example.com/empty"} {
		for _, site := range []string{"cross-site", "same-site"} {
			if a := s.do(http.MethodPost, path, url.Values{}, "Sec-Fetch-Site", site, "Origin", "https://evil.test"); a.StatusCode != http.StatusForbidden {
				t.Errorf("%s from a page that is %s: status %d", path, site, a.StatusCode)
			}
		}
		if a := s.get(strings.TrimSuffix(path, "/empty") + "/x/delete"); a.StatusCode < 400 {
			t.Errorf("a link deletes: %d", a.StatusCode)
		}
	}
	if a := s.get("/inbox/ann@example.com/" + id); a.StatusCode != 200 {
		t.Fatalf("the mail is gone: %d", a.StatusCode)
	}
	a := s.do(http.MethodPost, "/inbox/ann@example.com/"+id+"/delete", url.Values{}, "Sec-Fetch-Site", "same-origin")
	if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/inbox/ann@example.com?done=deleted" {
		t.Errorf("status %d to %s", a.StatusCode, a.Header.Get("Location"))
	}
	if a := s.get("/inbox/ann@example.com/" + id); a.StatusCode != http.StatusNotFound {
		t.Errorf("after deleting: %d", a.StatusCode)
	}
}

func TestOpeningAnAddress(t *testing.T) {
	s := start(t, func(cfg *mailbox.Config) { cfg.Hosts = []string{"mail.example.net"} })
	for _, tc := range []struct{ host, typed, want string }{
		{"127.0.0.1", "Ann@Example.COM", "/inbox/ann@example.com"},
		{"127.0.0.1", " ann ", "/inbox/ann@example.com"},
		{"mail.example.net:8025", "ann", "/inbox/ann@mail.example.net"},
	} {
		a := s.get("/open?address="+url.QueryEscape(tc.typed), "Host", tc.host)
		if got := a.Header.Get("Location"); a.StatusCode != http.StatusSeeOther || got != tc.want {
			t.Errorf("%q at %s: status %d to %q, want %q", tc.typed, tc.host, a.StatusCode, got, tc.want)
		}
	}
	rolled := regexp.MustCompile(`value="([a-z]+-[a-z]+-[1-9][0-9]{2}@example\.com)"`)
	first, second := rolled.FindString(s.get("/").body), rolled.FindString(s.get("/").body)
	if first == "" || first == second {
		t.Errorf("rolled %q and %q", first, second)
	}
}

// TestCommandIsOneWord: what one copies into a shell must not run what an address says.
func TestCommandIsOneWord(t *testing.T) {
	s := start(t, nil)
	a := s.get("/inbox/" + url.PathEscape("a'|id|'b@example.com"))
	if want := `--mail-rcpt &#39;a&#39;\&#39;&#39;|id|&#39;\&#39;&#39;b@example.com&#39;`; !strings.Contains(a.body, want) {
		t.Errorf("status %d, the command is not quoted: %s", a.StatusCode, a.body)
	}
}
