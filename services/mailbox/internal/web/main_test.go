package web_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/sluice-mail/sluice/pkg/obs"
	"github.com/sluice-mail/sluice/services/internal/reading/readingtest"
	"github.com/sluice-mail/sluice/services/mailbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ann = "ann@example.com"

type site struct {
	t     testing.TB
	store *readingtest.Database
	url   string
}

// start runs the mailbox service.
func start(t testing.TB, change func(*mailbox.Config)) *site {
	t.Helper()
	s := &site{t: t, store: readingtest.Store(t)}
	cfg := mailbox.Config{Addr: "127.0.0.1:0", Access: "open"}
	if change != nil {
		change(&cfg)
	}
	service, err := mailbox.New(cfg, mailbox.Deps{Store: s.store, Logger: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Health: obs.NewHealth()})
	if err != nil {
		t.Fatal(err)
	}
	s.url = "http://" + service.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- service.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *site) inbox(mailbox string) string { return s.url + "/inbox/" + url.PathEscape(mailbox) }

type answer struct {
	*http.Response
	body string
}

// do sends a request with headers given as name, value, …, and follows no redirect.
func (s *site) do(method, path string, form url.Values, headers ...string) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, s.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html,*/*;q=0.8")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{response, string(text)}
}

func (s *site) get(path string, headers ...string) answer {
	s.t.Helper()
	return s.do(http.MethodGet, path, nil, headers...)
}
