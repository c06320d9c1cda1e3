package requests

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func serve(t *testing.T, limit time.Duration, mux *http.ServeMux) (*httptest.Server, *Log, *bytes.Buffer) {
	t.Helper()
	var text bytes.Buffer
	l := NewLog(slog.New(slog.NewTextHandler(&text, nil)), false, limit, prometheus.NewRegistry())
	server := httptest.NewServer(l.Handler(Routes(mux, func(http.ResponseWriter, *http.Request) bool { return false })))
	t.Cleanup(server.Close)
	return server, l, &text
}

func get(t *testing.T, url string) (*http.Response, string, error) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response, string(body), err
}

// TestPanicsAreAnswered where nothing has been written yet, and end the connection where something has.
func TestPanicsAreAnswered(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /early", func(http.ResponseWriter, *http.Request) { panic("early, SECRET") })
	mux.HandleFunc("GET /late/{id}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
		panic("late")
	})
	server, l, text := serve(t, time.Minute, mux)
	response, body, err := get(t, server.URL+"/early")
	if err != nil || response.StatusCode != http.StatusInternalServerError || response.Header.Get("Content-Type") != "application/problem+json" || strings.Contains(body, "SECRET") {
		t.Errorf("%v %q %v", response, body, err)
	}
	if _, _, err := get(t, server.URL+"/late/SECRET-ID"); err == nil {
		t.Error("half an answer looks whole")
	}
	server.Close() // when all has been logged
	if !strings.Contains(text.String(), "early, SECRET") || strings.Contains(text.String(), "SECRET-ID") || !strings.Contains(text.String(), "GET /late/{id}") {
		t.Errorf("the log: %s", text)
	}
	if n := testutil.ToFloat64(l.requests.WithLabelValues("GET /early", "500")); n != 1 {
		t.Errorf("%v counted", n)
	}
}

// TestDeadlinesOfOneRequestAreNotThoseOfTheNext on the same connection.
func TestDeadlinesOfOneRequestAreNotThoseOfTheNext(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	const limit = time.Second
	server, _, _ := serve(t, limit, mux)
	for i := range 2 {
		if i > 0 {
			<-time.After(2 * limit)
		}
		if _, body, err := get(t, server.URL+"/"); body != "ok" || err != nil {
			t.Fatalf("%q %v", body, err)
		}
	}
}

// TestABodyThatDoesNotComeIsNotWaitedFor: a deadline is set where there is a body, and nowhere else.
func TestABodyThatDoesNotComeIsNotWaitedFor(t *testing.T) {
	for body, want := range map[string]bool{"": false, "x": true} {
		set := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		l := NewLog(slog.New(slog.DiscardHandler), false, time.Minute, prometheus.NewRegistry())
		l.Handler(http.NotFoundHandler()).ServeHTTP(set, httptest.NewRequest("POST", "/", strings.NewReader(body)))
		if set.read.IsZero() == want || set.write.IsZero() {
			t.Errorf("with the body %q: reading until %v, writing until %v", body, set.read, set.write)
		}
	}
}

type deadlines struct {
	*httptest.ResponseRecorder
	read, write time.Time
}

func (d *deadlines) SetReadDeadline(at time.Time) error  { d.read = at; return nil }
func (d *deadlines) SetWriteDeadline(at time.Time) error { d.write = at; return nil }

// TestConnectionIsWithinReach: streams take it over.
func TestConnectionIsWithinReach(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stream", func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nstream")
		_ = conn.Close()
	})
	l := NewLog(slog.New(slog.DiscardHandler), false, time.Minute, prometheus.NewRegistry())
	handler, err := Compress(Routes(mux, func(http.ResponseWriter, *http.Request) bool { return false }))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(l.Handler(handler))
	defer server.Close()
	for _, encoding := range []string{"gzip", "identity"} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "GET /stream HTTP/1.1\r\nHost: x\r\nAccept-Encoding: "+encoding+"\r\n\r\n")
		if text, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(text), "\r\n\r\nstream") {
			t.Errorf("%s: %q %v", encoding, text, err)
		}
		_ = conn.Close()
	}
}
