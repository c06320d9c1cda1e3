package ingress

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/lifecycle"
	"github.com/sluice-mail/sluice/pkg/obs"
	"github.com/sluice-mail/sluice/pkg/policy"
	"github.com/sluice-mail/sluice/pkg/smtpd"
	"github.com/sluice-mail/sluice/pkg/smtpd/spool"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/publish"
)

// finishGrace is how long transactions under way may continue once the listeners are closed. It includes a publish that
// waits for a log that does not answer.
const finishGrace = 25 * time.Second

// stopGrace is how long everything else may take to stop.
const stopGrace = 5 * time.Second

// Deps are what the ingress works with. They belong to the caller.
type Deps struct {
	Conn *nats.Conn // the log
	// AllowUnsynced is STREAM_ALLOW_UNSYNCED: accept mail even if the log acknowledges before its fsync.
	AllowUnsynced bool
	LogPII        bool // log whole addresses instead of their domains
	Logger        *slog.Logger
	Metrics       prometheus.Registerer // where the service registers its metrics
	Health        *obs.Health           // where the service registers its checks for /readyz
}

// Service is the ingress.
type Service struct {
	cfg       Config
	deps      Deps
	publisher *publish.Publisher
	policy    *policy.Policy
	server    *smtpd.Server
	plain     []net.Listener
	tls       []net.Listener
	serving   atomic.Bool
}

// New opens the listeners, so that an address that cannot be used is an error at once. Nothing is served before Run.
func New(cfg Config, deps Deps) (*Service, error) {
	pool, err := spool.New(cfg.spool(), deps.Metrics)
	if err != nil {
		return nil, fmt.Errorf("preparing the spool: %w", err)
	}
	accepted, err := policy.New(cfg.policy())
	if err != nil {
		return nil, fmt.Errorf("reading INGRESS_DOMAINS: %w", err)
	}
	if err := deps.Metrics.Register(accepted.Collector()); err != nil {
		return nil, fmt.Errorf("registering policy metrics: %w", err)
	}
	s := &Service{cfg: cfg, deps: deps, policy: accepted}
	s.publisher = publish.New(deps.Conn, publish.Config{AllowUnsynced: deps.AllowUnsynced}, deps.Logger, deps.Metrics)
	mail := &sink{log: s.publisher, pool: pool, ids: rand.Reader, now: time.Now, logger: deps.Logger}
	s.server, err = smtpd.NewServer(cfg.server(deps.LogPII), mail, recipients{accepted}, deps.Logger, deps.Metrics)
	if err != nil {
		return nil, fmt.Errorf("preparing the SMTP server: %w", err)
	}
	if err := s.listen(); err != nil {
		return nil, err
	}
	// Not ready before the first start and while draining, and at no other time: when the log does not answer, senders must get a
	// 4xx from the ingress, and not find a load balancer without backends.
	deps.Health.RegisterState("serving", func() error {
		if !s.serving.Load() {
			return errors.New("not accepting mail: starting or draining")
		}
		return nil
	})
	return s, nil
}

// Addr is where SMTP is served, in plaintext if anywhere, for logs and for tests that listen on port 0. There may be TLS
// only: systemd decides which sockets it opens.
func (s *Service) Addr() net.Addr {
	for _, l := range append(slices.Clone(s.plain), s.tls...) {
		return l.Addr()
	}
	return nil
}

// Run serves until ctx ends. Then it drains: /readyz answers 503, it waits for the load balancer to notice, closes the listeners,
// sends 421 to idle sessions, and lets transactions under way finish. The parts that these need stop last.
func (s *Service) Run(ctx context.Context) error {
	var group lifecycle.Group
	group.Add("publisher", stopGrace, s.publisher.Run)
	group.Add("policy", stopGrace, func(ctx context.Context) error { return s.policy.Follow(ctx, s.openPolicy, s.deps.Logger) })
	group.Add("smtp", s.cfg.DrainDelay+finishGrace+stopGrace, s.serve)
	return group.Run(ctx)
}

// StopTime is how long a service with this configuration may take to stop in the worst case, when the log does not answer and
// clients are slow: its parts stop one after the other.
func (c Config) StopTime() time.Duration {
	return c.DrainDelay + finishGrace + 3*stopGrace
}

// openPolicy finds the bucket of accepted domains and recipients.
func (s *Service) openPolicy(ctx context.Context) (jetstream.KeyValue, error) {
	js, err := jetstream.New(s.deps.Conn)
	if err != nil {
		return nil, err
	}
	return js.KeyValue(ctx, stream.PolicyBucket)
}

// serve takes connections until ctx ends or a listener fails, then drains.
func (s *Service) serve(ctx context.Context) error {
	failed := make(chan error, len(s.plain)+len(s.tls))
	start := func(listeners []net.Listener, kind smtpd.ListenerKind) {
		for _, l := range listeners {
			go func() { failed <- s.server.Serve(l, kind) }()
			s.deps.Logger.Info("accepting mail", "address", l.Addr().String(), "implicit_tls", kind == smtpd.ListenerTLS, "hostname", s.cfg.hostname())
		}
	}
	start(s.plain, smtpd.ListenerPlain)
	start(s.tls, smtpd.ListenerTLS)
	for _, doubt := range s.cfg.doubts(fileLimit()) {
		s.deps.Logger.Warn(doubt)
	}
	s.serving.Store(true)
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.serving.Store(false)
	if err == nil && s.cfg.DrainDelay > 0 {
		s.deps.Logger.Info("draining: waiting for the load balancer to notice", "delay", s.cfg.DrainDelay)
		time.Sleep(s.cfg.DrainDelay)
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishGrace)
	defer cancel()
	if err := s.server.Shutdown(grace); err != nil {
		s.deps.Logger.Warn("closed sessions that had not finished; their senders keep the mail", "reason", err)
	}
	return err
}
