package mailbox_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/sluice-mail/sluice/pkg/mailcache"
	"github.com/sluice-mail/sluice/pkg/mailcache/memcachedtest"
	"github.com/sluice-mail/sluice/pkg/obs"
	"github.com/sluice-mail/sluice/services/internal/reading/readingtest"
	"github.com/sluice-mail/sluice/services/mailbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ann, ben = "ann@example.com", "ben@example.com"

// inbox is a running service.
type inbox struct {
	t      testing.TB
	store  *readingtest.Database
	cache  *memcachedtest.Server
	url    string
	client *http.Client
}

// start runs a service on a free port, with a database and a memcached of its own.
func start(t *testing.T, change func(*mailbox.Config)) *inbox {
	t.Helper()
	return startFor(t, change)
}

func startFor(t testing.TB, change func(*mailbox.Config)) *inbox {
	t.Helper()
	in := &inbox{t: t, store: readingtest.Store(t), cache: memcachedtest.Start(t)}
	logger := slog.New(slog.DiscardHandler)
	cache := mailcache.New(mailcache.Config{Addrs: []string{in.cache.Addr}}, nil, logger, prometheus.NewRegistry())
	t.Cleanup(cache.Close)
	cfg := mailbox.Config{Addr: "127.0.0.1:0", Access: "open", Memory: 8 << 20}
	if change != nil {
		change(&cfg)
	}
	s, err := mailbox.New(cfg, mailbox.Deps{Store: in.store, Cache: cache, Logger: logger, Metrics: prometheus.NewRegistry(), Health: obs.NewHealth()})
	if err != nil {
		t.Fatal(err)
	}
	in.url = "http://" + s.Addr().String()
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	in.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	return in
}

// answer is a response whose body has been read.
type answer struct {
	*http.Response
	body string
}

// do sends a request with headers given as name, value, ….
func (in *inbox) do(method, path, body string, headers ...string) answer {
	in.t.Helper()
	r, err := http.NewRequestWithContext(in.t.Context(), method, in.url+path, strings.NewReader(body))
	if err != nil {
		in.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	response, err := in.client.Do(r)
	if err != nil {
		in.t.Fatal(err)
	}
	defer response.Body.Close()
	content := io.Reader(response.Body)
	if strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream") {
		content = io.LimitReader(content, 1) // it has no end
	}
	text, err := io.ReadAll(content)
	if err != nil {
		in.t.Fatalf("%s %s: reading the answer: %v", method, path, err)
	}
	return answer{response, string(text)}
}

func (in *inbox) get(path string, headers ...string) answer {
	in.t.Helper()
	return in.do(http.MethodGet, path, "", headers...)
}

// status fails the test when an answer has another one.
func (in *inbox) status(a answer, want int) answer {
	in.t.Helper()
	if a.StatusCode != want {
		in.t.Fatalf("%s %s: status %d, want %d: %.500s", a.Request.Method, a.Request.URL, a.StatusCode, want, a.body)
	}
	if want >= 400 && !strings.HasPrefix(a.Request.URL.Path, "/inbucket/") && a.Header.Get("Content-Type") != "application/problem+json" {
		in.t.Errorf("%s %s: %d is no problem+json but %s", a.Request.Method, a.Request.URL, want, a.Header.Get("Content-Type"))
	}
	return a
}
