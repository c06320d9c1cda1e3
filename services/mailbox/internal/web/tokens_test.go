package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mail/sluice/services/internal/reading/readingtest"
	"github.com/sluice-mail/sluice/services/internal/token"
	"github.com/sluice-mail/sluice/services/mailbox"
)

var secret = strings.Repeat("0123456789abcdef", 2)

func withTokens(cfg *mailbox.Config) { cfg.Access, cfg.Secret = "token", secret }

func TestLoggingIn(t *testing.T) {
	s := start(t, withTokens)
	id := readingtest.Put(t, s.store, page, ann, "ben@example.com").String()
	for _, path := range []string{"/", "/inbox/ann@example.com", "/inbox/ann@example.com/" + id, "/inbox/ann@example.com/" + id + "/html", "/open?address=x@y.example"} {
		if a := s.get(path); a.StatusCode != http.StatusUnauthorized || !strings.Contains(a.body, `action="/login"`) || strings.Contains(a.body, "eve@") {
			t.Errorf("%s without a token: %d", path, a.StatusCode)
		}
	}
	wrong := s.do(http.MethodPost, "/login", url.Values{"token": {"wrong"}})
	if wrong.StatusCode != http.StatusSeeOther || !strings.Contains(s.get(wrong.Header.Get("Location")).body, "That token is invalid") {
		t.Errorf("a wrong token: %d to %s", wrong.StatusCode, wrong.Header.Get("Location"))
	}
	right := s.do(http.MethodPost, "/login", url.Values{"token": {signed(t, ann)}})
	if right.StatusCode != http.StatusSeeOther || len(right.Cookies()) != 1 {
		t.Fatalf("a right token: %d, %v", right.StatusCode, right.Cookies())
	}
	cookie := right.Cookies()[0].Name + "=" + right.Cookies()[0].Value
	if a := s.get("/", "Cookie", cookie); a.StatusCode != 200 || !strings.Contains(a.body, ann) || !strings.Contains(a.body, `action="/logout"`) {
		t.Errorf("the start page: %d", a.StatusCode)
	}
	if a := s.get("/inbox/ann@example.com/"+id, "Cookie", cookie); a.StatusCode != 200 || strings.Contains(a.body, "ben@") {
		t.Errorf("the own mailbox: %d", a.StatusCode)
	}
	for _, path := range []string{"/inbox/ben@example.com", "/inbox/ben@example.com/" + id, "/inbox/ann@example.com/empty"} { // the last: the token may not delete
		if a := s.get(path, "Cookie", cookie); a.StatusCode != http.StatusNotFound {
			t.Errorf("%s with a token for another: %d", path, a.StatusCode)
		}
	}
}

// signed is a token for reading a mailbox.
func signed(t testing.TB, mailbox string) string {
	t.Helper()
	keys, err := token.ParseKeys(secret)
	if err != nil {
		t.Fatal(err)
	}
	text, err := keys.Sign(token.Claims{Mailboxes: []string{mailbox}, Do: []token.Right{token.Read}}, time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return text
}
