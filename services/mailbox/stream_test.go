package mailbox_test

import (
	"bufio"
	"context"
	"net/http"
	"testing"
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
