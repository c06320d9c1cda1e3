// Package requests has what applies to every request: it gets an id, a line in the access log, and is counted in the metrics. When
// a handler panics, the answer is 500. When no handler matches, it is 404 or 405.
package requests

import (
	"bufio"
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/services/mailbox/internal/access"
	"github.com/sluice-mail/sluice/services/mailbox/internal/problem"
)

// IDHeader has the id of a request, in its answer. An id that a client or a proxy sends is ignored.
const IDHeader = "X-Request-Id"

// Log is the access log and the metrics of requests.
type Log struct {
	logger   *slog.Logger
	pii      bool
	limit    time.Duration
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

// bodyTime is how long a client may take to send a body; all bodies are small.
const bodyTime = 10 * time.Second

// NewLog registers the metrics. pii lets clients' addresses into the log, not only their networks. An answer must be
// written within limit, unless its handler sets a deadline of its own.
func NewLog(logger *slog.Logger, pii bool, limit time.Duration, reg prometheus.Registerer) *Log {
	l := &Log{
		logger: logger,
		pii:    pii,
		limit:  limit,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_mailbox_requests_total",
			Help: "Requests by route (none: no such route) and status.",
		}, []string{"route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:                        "sluice_mailbox_request_seconds",
			Help:                        "Time from a request to the end of its answer; for an event stream, its whole duration.",
			Buckets:                     []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60},
			NativeHistogramBucketFactor: 1.1,
		}, []string{"route"}),
	}
	reg.MustRegister(l.requests, l.seconds)
	return l
}

// seen is what the outer handlers learn from the inner ones.
type seen struct {
	id      string
	pattern string
}

type seenKey struct{}

// ID is the id of the request with that context, or "".
func ID(ctx context.Context) string {
	if s, ok := ctx.Value(seenKey{}).(*seen); ok {
		return s.id
	}
	return ""
}

// Handler gives each request its id and logs how it ended. It logs the pattern of the path, never the path itself, which names a
// mailbox, and nothing of the mail.
func (l *Log) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		s := &seen{id: rand.Text()[:16], pattern: "none"}
		r = r.WithContext(context.WithValue(r.Context(), seenKey{}, s))
		w.Header().Set(IDHeader, s.id)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		l.deadlines(w, r, start)
		rec := &recorder{ResponseWriter: w}
		defer func() {
			if what := recover(); what != nil {
				l.panicked(rec, s, what)
			}
			l.end(r, rec, s, start)
		}()
		next.ServeHTTP(rec, r)
	})
}

// deadlines are set for each request, because those of the previous request on the connection are still in force. Errors are
// ignored: they say that there is no real connection, as in some tests.
func (l *Log) deadlines(w http.ResponseWriter, r *http.Request, now time.Time) {
	c := http.NewResponseController(w)
	_ = c.SetWriteDeadline(now.Add(l.limit))
	if r.ContentLength != 0 { // without a body a deadline would end requests that wait
		_ = c.SetReadDeadline(now.Add(bodyTime))
	}
}

// panicked answers 500 when a handler panicked. If the answer had begun already, it closes the connection.
func (l *Log) panicked(rec *recorder, s *seen, what any) {
	if what == http.ErrAbortHandler {
		panic(what)
	}
	l.logger.Error("a handler panicked", "request", s.id, "route", s.pattern, "panic", what, "stack", string(debug.Stack()))
	if rec.status != 0 {
		panic(http.ErrAbortHandler)
	}
	problem.Write(rec, http.StatusInternalServerError, "Internal error; details are in the log under this request's id.")
}

func (l *Log) end(r *http.Request, rec *recorder, s *seen, start time.Time) {
	took, status := time.Since(start), rec.status
	if status == 0 {
		status = http.StatusOK
	}
	l.requests.WithLabelValues(s.pattern, strconv.Itoa(status)).Inc()
	l.seconds.WithLabelValues(s.pattern).Observe(took.Seconds())
	level := slog.LevelInfo
	if status >= http.StatusInternalServerError {
		level = slog.LevelWarn
	}
	if !l.logger.Enabled(r.Context(), level) {
		return
	}
	client := access.Client(r.Context())
	attrs := []slog.Attr{
		slog.String("request", s.id), slog.String("method", r.Method), slog.String("route", s.pattern), slog.Int("status", status),
		slog.Int64("bytes", rec.bytes), slog.Int64("dur_ms", took.Milliseconds()), slog.String("remote_net", access.Network(client).String()),
	}
	if l.pii {
		attrs = append(attrs, slog.String("remote_ip", client.String()))
	}
	record := slog.NewRecord(start.Add(took), level, "request", 0) // LogAttrs would look for the caller, which nobody prints
	record.AddAttrs(attrs...)
	_ = l.logger.Handler().Handle(r.Context(), record) // LogAttrs has no use for the error either
}

// recorder notes the status and the length of an answer.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// Unwrap lets http.ResponseController reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack implements http.Hijacker: the writer that compresses asks for it and does not unwrap. Without it a stream of
// events would be empty for every client that accepts gzip, as browsers do.
func (w *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// WriteHeader implements http.ResponseWriter. An informational status is not the answer.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}
