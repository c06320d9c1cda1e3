package smtpd

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// drainDelay is what INGRESS_DRAIN_DELAY is in production: longer than the load balancer needs to see a red
// readyz (100 ms here) plus a usual session.
const drainDelay = time.Second

// backend is one place behind the load balancer: a health endpoint, and one server after the other on one port.
type backend struct {
	addr  string
	ready atomic.Bool
	http  *http.Server
	check net.Listener
	srv   *Server
	done  chan error
}

func newBackend(t *testing.T) *backend {
	t.Helper()
	check, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{addr: freeAddr(t), check: check}
	b.http = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !b.ready.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})}
	go func() { _ = b.http.Serve(check) }()
	t.Cleanup(func() { _ = b.http.Close() })
	return b
}

// up starts a new server process, as it were.
func (b *backend) up(t *testing.T) {
	t.Helper()
	cfg := behindProxy(Config{Hostname: "mx.example.com", MaxConnsPerIP: -1, MaxConnsPerNet: -1})
	srv, err := NewServer(cfg, &memorySink{discard: true}, anyRecipient{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	b.srv, b.done = srv, make(chan error, 1)
	go func(done chan error) { done <- srv.Serve(l, ListenerPlain) }(b.done)
	b.ready.Store(true)
}

// down drains in the order the ingress does: readyz red, wait, close the listener, finish what runs.
func (b *backend) down(t *testing.T) {
	t.Helper()
	b.ready.Store(false)
	<-time.After(drainDelay)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := b.srv.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-b.done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func startHAProxy(t *testing.T, a, b *backend) (addr string) {
	t.Helper()
	addr = freeAddr(t)
	text := fmt.Sprintf(`
global
  maxconn 500
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout check 2s
frontend smtp
  bind %s
  default_backend ingress
backend ingress
  balance leastconn
  option redispatch
  retries 2
  option httpchk GET /readyz
  default-server no-check-send-proxy inter 100ms fall 1 rise 1 send-proxy-v2
  server a %s check port %d
  server b %s check port %d
`, addr, a.addr, a.check.Addr().(*net.TCPAddr).Port, b.addr, b.check.Addr().(*net.TCPAddr).Port)
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("haproxy", "-db", "-f", file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(t, "HAProxy passes a session", func() bool { return sendOne(addr) == nil })
	return addr
}

// Two servers behind HAProxy with PROXY v2, restarted in turn under load: no client notices.
func TestRollingRestartBehindHAProxy(t *testing.T) {
	if _, err := exec.LookPath("haproxy"); err != nil {
		t.Skip("skipped: needs haproxy in PATH (Debian package haproxy)")
	}
	if testing.Short() {
		t.Skip("skipped: takes some ten seconds (-short)")
	}
	const wantSessions, wantRestarts = 2000, 4
	a, b := newBackend(t), newBackend(t)
	a.up(t)
	b.up(t)
	addr := startHAProxy(t, a, b)

	var sessions, failed, restarts atomic.Int64
	var first sync.Once
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	enough := func() bool {
		return ctx.Err() != nil || sessions.Load() >= wantSessions && restarts.Load() >= wantRestarts
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for !enough() {
				if err := sendOne(addr); err != nil {
					failed.Add(1)
					first.Do(func() { t.Errorf("session %d failed: %v", sessions.Load(), err) })
				}
				sessions.Add(1)
			}
		})
	}
	for !enough() {
		for _, x := range []*backend{a, b} {
			x.down(t)
			x.up(t)
			eventually(t, "the new server gets sessions", func() bool {
				return enough() || valueOf(x.srv.metrics.connections.WithLabelValues("accepted")) > 0
			})
			restarts.Add(1)
		}
	}
	wg.Wait()
	a.down(t)
	b.down(t)
	if ctx.Err() != nil {
		t.Error("out of time")
	}
	t.Logf("%d sessions, %d restarts, %d failed", sessions.Load(), restarts.Load(), failed.Load())
	if failed.Load() != 0 {
		t.Errorf("%d of %d sessions failed", failed.Load(), sessions.Load())
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
