package mailbox_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mail/sluice/services/internal/token"
	"github.com/sluice-mail/sluice/services/mailbox"
)

// TestBrowsersGetTheirStream: a browser says that it takes gzip, whatever it asks for.
func TestBrowsersGetTheirStream(t *testing.T) {
	in := start(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, in.url+"/api/v1/mailboxes/"+ann+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Accept-Encoding", "gzip, deflate, br, zstd")
	response, err := in.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	line, err := bufio.NewReader(response.Body).ReadString('\n')
	if err != nil || line != "retry: 2000\n" || response.Header.Get("Content-Type") != "text/event-stream; charset=utf-8" {
		t.Errorf("the stream begins with %q, %v; %v", line, err, response.Header)
	}
}

// TestStreamsEndWithTheirToken: who may no longer read is no longer told.
func TestStreamsEndWithTheirToken(t *testing.T) {
	const secrets = "0123456789abcdef0123456789abcdef"
	in := start(t, func(c *mailbox.Config) { c.Access, c.Secret = "token", secrets })
	keys, err := token.ParseKeys(secrets)
	if err != nil {
		t.Fatal(err)
	}
	claims := token.Claims{Mailboxes: []string{ann}, Do: []token.Right{token.Read}}
	text, err := keys.Sign(claims, time.Hour, time.Now().Add(3*time.Second-time.Hour-token.Leeway))
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, in.url+"/api/v1/mailboxes/"+ann+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+text)
	response, err := in.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	stop := time.AfterFunc(15*time.Second, func() { response.Body.Close() }) // before the first comment that it is alive
	defer stop.Stop()
	told, err := io.ReadAll(response.Body)
	if err != nil || !strings.Contains(string(told), "connected") {
		t.Errorf("the stream of a token that lives for 3 s: %d, %q, %v", response.StatusCode, told, err)
	}
	in.status(in.get("/api/v1/mailboxes/"+ann+"/events", "Authorization", "Bearer "+text), http.StatusUnauthorized)
}
