package smtpd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/smtp"
	"github.com/sluice-mail/sluice/pkg/smtpd/certs"
	"github.com/sluice-mail/sluice/pkg/smtpd/limits"
	"github.com/sluice-mail/sluice/pkg/smtpd/refusals"
)

// Server is the driver: it accepts connections, runs an smtp.Session over each and carries their mail to a Sink.
type Server struct {
	cfg     Config
	session smtp.SessionConfig
	sink    Sink
	policy  Policy
	logger  *slog.Logger
	metrics *metrics
	refused *refusals.Log
	limits  *limits.Limits
	tls     *tls.Config // nil without a certificate

	buffers        sync.Pool     // of *readBuffer
	handshakes     chan struct{} // one element per handshake that uses the CPU
	handshakeQueue atomic.Int64  // handshakes that want to

	epoch    time.Time // what connections count time from, and part of session ids
	sessions atomic.Uint64

	tick       atomic.Int64 // the watchdog's count of watchEvery, from 1: a clock that costs nothing to read
	stuckAfter int64        // ticks
	stackFor   time.Duration
	draining   atomic.Bool
	overloaded atomic.Bool
	base       context.Context // ends with the context of Shutdown, or when it is done
	stop       context.CancelFunc

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	watching  bool
	wg        sync.WaitGroup // connections, Serve calls and the watchdog
}

// NewServer checks cfg and reads the certificate. The server does nothing until Serve.
func NewServer(cfg Config, sink Sink, policy Policy, logger *slog.Logger, reg prometheus.Registerer) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("configuring the SMTP server: %w", err)
	}
	m, err := newMetrics(reg)
	if err != nil {
		return nil, err
	}
	refused, err := refusals.New(logger, cfg.LogPII, reg)
	if err != nil {
		return nil, fmt.Errorf("registering SMTP metrics: %w", err)
	}
	if cfg.TLSHandshakes == 0 {
		cfg.TLSHandshakes = 2 * runtime.GOMAXPROCS(0)
	}
	s := &Server{
		cfg: cfg, sink: sink, policy: policy, logger: logger, metrics: m, refused: refused, limits: limits.New(cfg.limits()),
		buffers:    sync.Pool{New: func() any { return new(readBuffer) }},
		handshakes: make(chan struct{}, cfg.TLSHandshakes),
		epoch:      time.Now(),
		listeners:  make(map[net.Listener]struct{}),
		conns:      make(map[*conn]struct{}),
	}
	if cfg.certs().Enabled() {
		store, err := certs.Open(cfg.certs(), logger, reg)
		if err != nil {
			return nil, err
		}
		s.tls = newTLSConfig(store, cfg.TLSMinVersion)
	}
	s.tick.Store(1)
	s.stackFor = stackFor
	s.stuckAfter = int64((cfg.Timeouts.Commit + stuckFor) / watchEvery)
	s.session = cfg.session()
	s.session.Observer = newDialogue(m, refused, logger, cfg.LogPII)
	s.base, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// Serve accepts connections from l until Shutdown, which makes it return nil. It closes l. It may be called for
// several listeners.
func (s *Server) Serve(l net.Listener, kind ListenerKind) error {
	if kind == ListenerTLS && s.tls == nil {
		return errors.Join(errors.New("implicit TLS needs a certificate"), l.Close())
	}
	if !s.track(l) {
		return l.Close()
	}
	defer s.untrack(l)
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			s.start(nc, kind)
		case s.draining.Load():
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accepting SMTP connections on %s: %w", l.Addr(), err)
		default:
			// Out of file descriptors, most likely: wait for sessions to end rather than die with them.
			s.logger.Error("cannot accept an SMTP connection; trying again", "addr", l.Addr().String(), "error", err)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-s.base.Done():
				return nil
			}
		}
	}
}

// start gives a connection its goroutine, or refuses it when there are too many.
func (s *Server) start(nc net.Conn, kind ListenerKind) {
	if limit := s.limits.Enter(); limit != "" {
		s.metrics.connections.WithLabelValues("limited").Inc()
		s.metrics.limits.WithLabelValues(limit).Inc()
		s.refused.Note(refusals.Refusal{Stage: "connect", Code: smtp.ReplyTooManyConns.Code, Reason: limit, Client: addrPort(nc.RemoteAddr()).Addr()}, time.Now())
		s.refuse(nc, kind)
		return
	}
	c := &conn{srv: s, kind: kind}
	c.plain.pool = &s.buffers
	if err := c.open(nc, &s.buffers, s.epoch); err != nil {
		s.logger.Error("cannot serve a connection", "error", err)
		s.limits.Leave()
		_ = nc.Close()
		return
	}
	c.onReadable = c.readable
	c.opened = c.now()
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	go c.serve()
}

// refuse says 421 and closes, without a goroutine: a fresh socket has room for one line. Nothing can be said
// before a TLS handshake.
func (s *Server) refuse(nc net.Conn, kind ListenerKind) {
	if kind == ListenerPlain {
		_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = nc.Write(smtp.ReplyTooManyConns.With(s.cfg.RejectText).AppendTo(nil)) // the client may be gone already
	}
	_ = nc.Close()
}

// forget undoes start.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	if c.counted.IsValid() {
		s.limits.LeaveClient(c.counted)
	}
	if c.role == roleClient {
		s.metrics.active.Dec()
	}
	s.limits.Leave()
	s.wg.Done()
}

// sessionID is unique among the processes that start at different microseconds, and short.
func (s *Server) sessionID() string {
	var b [32]byte
	id := strconv.AppendInt(b[:0], s.epoch.UnixMicro(), 36)
	id = append(id, '-')
	return string(strconv.AppendUint(id, s.sessions.Add(1), 36))
}

// handshakesBusy says that a further handshake would wait too long for a CPU to be worth starting.
func (s *Server) handshakesBusy() bool {
	return s.handshakeQueue.Load() > int64(64*cap(s.handshakes))
}

// session is the part of the configuration the sessions need.
func (c Config) session() smtp.SessionConfig {
	return (smtp.SessionConfig{
		Hostname: c.Hostname, MaxMessageBytes: c.MaxMessageBytes, MaxRcpts: c.MaxRcpts, MaxMails: c.MaxMails,
		MaxErrors: c.MaxErrors, MaxJunk: c.MaxJunk, MaxRejectedRcpts: c.MaxRefusedRcpts,
		BareLF: c.BareLF, RejectText: c.RejectText, StartTLS: c.certs().Enabled(),
	}).Prepared()
}
