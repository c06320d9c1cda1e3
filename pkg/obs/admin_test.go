package obs

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func get(t *testing.T, handler http.Handler, path, accept string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestAdminPaths(t *testing.T) {
	health := NewHealth()
	handler := AdminHandler(health, NewRegistry("ingress"))
	health.Register("database", func(context.Context) error { return errors.New("connection refused") })
	for _, tc := range []struct {
		path, accept string
		code         int
		body         string
	}{
		{"/livez", "", 200, "ok\n"}, // whatever the database does
		{"/readyz", "", 503, "database: connection refused\n"},
		{"/readyz", "application/json", 503, `{"failing":[{"check":"database","error":"connection refused"}],"ready":false}` + "\n"},
		{"/version", "", 200, `"go":"go1.`},
		{"/metrics", "", 200, `sluice_build_info{goversion="go1.`},
		{"/metrics", "", 200, `service="ingress"`},
		{"/metrics", "", 200, "go_goroutines "},
		{"/metrics", "", 200, "process_open_fds "},
		{"/", "", 404, ""},
		{"/debug/pprof/", "", 404, ""},
	} {
		code, body := get(t, handler, tc.path, tc.accept)
		if code != tc.code || !strings.Contains(body, tc.body) {
			t.Errorf("GET %s: %d %q, want %d with %q", tc.path, code, body, tc.code, tc.body)
		}
	}
}

func TestReady(t *testing.T) {
	health := NewHealth()
	handler := AdminHandler(health, prometheus.NewRegistry())
	health.Register("log", func(context.Context) error { return nil })
	if code, body := get(t, handler, "/readyz", ""); code != 200 || body != "ok\n" {
		t.Errorf("got %d %q", code, body)
	}
	if code, body := get(t, handler, "/readyz", "application/json"); code != 200 || body != `{"failing":[],"ready":true}`+"\n" {
		t.Errorf("got %d %q", code, body)
	}
}

// serve starts Serve on a free port; stop ends it and returns its error.
func serve(t *testing.T, handler http.Handler) (addr string, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, handler) }()
	return l.Addr().String(), func() error { cancel(); return <-done }
}

func TestHealthcheckAsksReadyz(t *testing.T) {
	health := NewHealth()
	addr, stop := serve(t, AdminHandler(health, prometheus.NewRegistry()))
	err := Healthcheck(t.Context(), addr)
	if err == nil || err.Error() != "not ready: start: starting" {
		t.Errorf("got %v", err)
	}
	health.Register("log", func(context.Context) error { return nil })
	if err := Healthcheck(t.Context(), addr); err != nil {
		t.Error(err)
	}
	_, port, _ := net.SplitHostPort(addr)
	if err := Healthcheck(t.Context(), ":"+port); err != nil {
		t.Errorf("an address to listen on is not turned into one to connect to: %v", err)
	}
	if err := stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
	if err := Healthcheck(t.Context(), addr); err == nil || !strings.Contains(err.Error(), "no answer on ADMIN_ADDR="+addr) {
		t.Errorf("nobody listens, but %v", err)
	}
	if err := Healthcheck(t.Context(), "off"); err == nil {
		t.Error("there is no admin listener, but no error")
	}
}

func TestReadyURL(t *testing.T) {
	for addr, want := range map[string]string{
		":8080":             "http://127.0.0.1:8080/readyz",
		"0.0.0.0:8080":      "http://127.0.0.1:8080/readyz",
		"[::]:8080":         "http://[::1]:8080/readyz",
		"[2001:db8::1]:80":  "http://[2001:db8::1]:80/readyz",
		"admin.example:801": "http://admin.example:801/readyz",
	} {
		if got, err := readyURL(addr); got != want || err != nil {
			t.Errorf("%s gives %s, %v; want %s", addr, got, err, want)
		}
	}
}

// TestServeLetsRequestsFinish: the last answer of /readyz while draining must still arrive.
func TestServeLetsRequestsFinish(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	addr, stop := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		_, _ = io.WriteString(w, "done")
	}))
	body := make(chan string, 1)
	go func() {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		response, err := client.Get("http://" + addr)
		if err != nil {
			body <- err.Error()
			return
		}
		defer func() { _ = response.Body.Close() }()
		text, _ := io.ReadAll(response.Body)
		body <- string(text)
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	close(release)
	if got := <-body; got != "done" {
		t.Errorf("the request under way got %q", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// TestServeDoesNotWaitForEver: a scrape that does not end must not hold the process.
func TestServeDoesNotWaitForEver(t *testing.T) {
	entered := make(chan struct{})
	addr, stop := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	}))
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-entered
	started := time.Now()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(started); took > closeTimeout+5*time.Second {
		t.Errorf("stopping took %s", took)
	}
}

func TestServeReportsALostListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := Serve(t.Context(), l, http.NotFoundHandler()); err == nil {
		t.Error("no error")
	}
}

func TestDebugOnlyOnLoopback(t *testing.T) {
	for _, addr := range []string{":6060", "0.0.0.0:6060", "[::]:6060", "192.0.2.1:6060", "example.com:6060", "6060", "on"} {
		if l, err := ListenDebug(addr); err == nil || !strings.Contains(err.Error(), `DEBUG_ADDR="`+addr+`"`) {
			if l != nil {
				_ = l.Close()
			}
			t.Errorf("%s: %v", addr, err)
		}
	}
	l, err := ListenDebug("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	handler := DebugHandler()
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/goroutine", "/debug/vars"} {
		if code, _ := get(t, handler, path, ""); code != 200 {
			t.Errorf("GET %s: %d", path, code)
		}
	}
}

// Idle connections, however many, must not take the file descriptors of the service; and who comes last is served.
func TestIdleConnectionsAreFew(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, l, AdminHandler(NewHealth(), prometheus.NewRegistry())) }()
	defer func() { cancel(); <-served }()
	const n = 4 * maxAdminConns
	conns := make([]net.Conn, n)
	for i := range conns {
		if conns[i], err = net.Dial("tcp", l.Addr().String()); err != nil {
			t.Fatal(err)
		}
		defer conns[i].Close()
		if _, err := io.WriteString(conns[i], "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, 15)
		if _, err := io.ReadFull(conns[i], answer); err != nil || string(answer) != "HTTP/1.1 200 OK" {
			t.Fatalf("connection %d: %q, %v", i, answer, err)
		}
	}
	closed := 0
	for _, conn := range conns[:n/2] { // which of the later ones go depends on when they are seen to be idle
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.Copy(io.Discard, conn); err == nil {
			closed++
		}
	}
	if closed != n/2 {
		t.Errorf("%d of the older %d idle connections were closed", closed, n/2)
	}
}
