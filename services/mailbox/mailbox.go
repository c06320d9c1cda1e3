package mailbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/mailcache"
	"github.com/sluice-mail/sluice/pkg/obs"
	"github.com/sluice-mail/sluice/services/internal/reading"
	"github.com/sluice-mail/sluice/services/mailbox/internal/access"
	"github.com/sluice-mail/sluice/services/mailbox/internal/push"
	"github.com/sluice-mail/sluice/services/mailbox/internal/requests"
)

// Store is what the service needs of the database.
type Store interface {
	reading.Store
	// Ping says whether the database answers.
	Ping(ctx context.Context) error
}

// Deps are what the service works with. They belong to the caller.
type Deps struct {
	Conn    *nats.Conn       // NATS, for the announcements of stored mail
	Store   Store            // the database
	Cache   *mailcache.Cache // nil: everything comes from the database
	Logger  *slog.Logger
	Metrics prometheus.Registerer // where the service registers its metrics
	Health  *obs.Health           // where the service registers its checks for /readyz
	// LogPII logs clients' addresses, not only their networks.
	LogPII bool
}

// Service is the inbox.
type Service struct {
	cfg      Config
	deps     Deps
	reader   *reading.Reader
	hub      *push.Hub
	names    reading.Names
	access   *access.Access
	listener net.Listener
	server   *http.Server
	draining chan struct{} // closed when the stop begins: streams end
}

const (
	headerTimeout = 5 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 16 << 10
	// answerTimeout is how long writing an answer may take; handlers of long ones set deadlines of their own.
	answerTimeout = 30 * time.Second
	// finishTime is how long requests under way may take when the service stops.
	finishTime = 10 * time.Second
)

// New opens the listener, so that an address in use is an error at once. No request is answered before Run.
func New(cfg Config, deps Deps) (*Service, error) {
	s := &Service{cfg: cfg, deps: deps, access: access.Open(), draining: make(chan struct{})}
	var err error
	if s.names, err = cfg.Naming.Names(); err != nil {
		return nil, err
	}
	if cfg.Access == "token" {
		if s.access, err = access.ByToken(cfg.Secret); err != nil {
			return nil, fmt.Errorf("MAILBOX_SECRET: %w", err)
		}
	}
	s.reader, err = reading.New(reading.Deps{Store: deps.Store, Cache: deps.Cache, Logger: deps.Logger, Metrics: deps.Metrics})
	if err != nil {
		return nil, err
	}
	s.hub = push.New(push.Deps{PerClient: s.cfg.Waiting, Reader: s.reader, Names: s.names, Logger: deps.Logger, Metrics: deps.Metrics})
	inner, err := s.routes()
	if err != nil {
		s.reader.Close()
		return nil, err
	}
	handler := s.around(inner)
	if s.listener, err = net.Listen("tcp", string(cfg.Addr)); err != nil {
		s.reader.Close()
		return nil, fmt.Errorf("opening the inbox's listener, MAILBOX_ADDR=%q: %w; allowed: a free host:port", cfg.Addr, err)
	}
	s.server = &http.Server{
		Handler: handler, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(deps.Logger.Handler(), slog.LevelDebug),
	}
	// The cache is not part of the health: without it everything is read from the database.
	deps.Health.Register("database", deps.Store.Ping)
	deps.Health.RegisterState("drain", s.drained)
	return s, nil
}

// Addr is where the service listens.
func (s *Service) Addr() net.Addr { return s.listener.Addr() }

// StopTime is how long Run may take to stop.
func (s *Service) StopTime() time.Duration { return s.cfg.DrainDelay + finishTime + time.Second }

func (s *Service) drained() error {
	select {
	case <-s.draining:
		return errors.New("stopping")
	default:
		return nil
	}
}

// around is what every request passes, from the outside in.
func (s *Service) around(inner http.Handler) http.Handler {
	limited := newLimited(s.deps.Metrics)
	handler := s.access.Handler(inner)
	handler = crossOrigin(handler)
	handler = access.NewRates(s.cfg.Rate, limited).Handler(handler)
	handler = access.Hosts(s.cfg.Hosts).Handler(handler)
	handler = requests.NewLog(s.deps.Logger, s.deps.LogPII, answerTimeout, s.deps.Metrics).Handler(handler)
	return access.Proxies(s.cfg.Proxies).Handler(handler)
}

// Run serves until ctx ends. Then it waits for the load balancer to notice, ends the streams, and finishes the requests under
// way.
func (s *Service) Run(ctx context.Context) error {
	defer s.reader.Close()
	defer s.hub.Close() // before the reader, which its streams use
	pushing, stopPushing := context.WithCancel(context.WithoutCancel(ctx))
	pushed := make(chan error, 1)
	go func() { pushed <- s.hub.Run(pushing, s.deps.Conn) }()
	defer func() {
		stopPushing()
		if err := <-pushed; err != nil {
			s.deps.Logger.Error("readers were not told of new mail", "error", err)
		}
	}()
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(s.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving HTTP on %s: %w", s.listener.Addr(), err)
	case <-ctx.Done():
	}
	close(s.draining)
	select {
	case err := <-served:
		return fmt.Errorf("serving HTTP on %s: %w", s.listener.Addr(), err)
	case <-time.After(s.cfg.DrainDelay):
	}
	s.hub.Close() // not earlier: who comes back at once would be sent here again
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTime)
	defer cancel()
	err := s.server.Shutdown(closing)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.server.Close() // who has not finished by now is cut off
	}
	<-served
	return err
}
