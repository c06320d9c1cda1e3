package obs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// AdminConfig says where a process shows itself.
type AdminConfig struct {
	Addr  string `envconfig:"ADMIN_ADDR" default:"127.0.0.1:8080" desc:"/livez /readyz /metrics /version; off for none"`
	Debug string `envconfig:"DEBUG_ADDR" default:"off" desc:"profiles and expvar, on a loopback address such as 127.0.0.1:6060"`
}

// AdminHandler serves /livez, /readyz, /metrics and /version.
func AdminHandler(health *Health, metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	// /livez only says that the process runs: one that a fault elsewhere makes restart loses what it was doing.
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", health.serve)
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{
		EnableOpenMetrics: true,
		ErrorHandling:     promhttp.ContinueOnError,
	}))
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(Version())
	})
	return mux
}

// serve answers /readyz: 200, or 503 and a line for each failing check; as JSON when the client asks for that.
func (h *Health) serve(w http.ResponseWriter, r *http.Request) {
	failures := h.Ready(r.Context())
	status := http.StatusOK
	if len(failures) > 0 {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Cache-Control", "no-store")
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"ready": len(failures) == 0, "failing": append([]Failure{}, failures...)})
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	if len(failures) == 0 {
		_, _ = io.WriteString(w, "ok\n")
	}
	for _, f := range failures {
		_, _ = fmt.Fprintf(w, "%s: %s\n", f.Check, f.Error)
	}
}

// closeTimeout is how long requests under way may take when a listener closes.
const closeTimeout = time.Second

// Serve serves HTTP on l until ctx ends, then lets the requests under way finish for a moment.
func Serve(ctx context.Context, l net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ConnState:         newCrowd(maxAdminConns).changed,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving HTTP on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	err := server.Shutdown(closing)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close() // a scrape that does not end is not worth waiting for
	}
	<-served
	return err
}
