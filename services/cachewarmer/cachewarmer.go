package cachewarmer

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/mailcache"
	"github.com/sluice-mail/sluice/pkg/obs"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/consume"
)

// Config is where the cache is.
type Config struct {
	Addrs []string      `envconfig:"MEMCACHED_ADDRS" default:"127.0.0.1:11211" desc:"Memcached servers, comma-separated"`
	TTL   time.Duration `envconfig:"CACHE_TTL" default:"1h" desc:"how long a mail stays in the cache, plus or minus a tenth"`
}

// Deps are what the cachewarmer works with. They belong to the caller.
type Deps struct {
	Conn  *nats.Conn       // the log
	Cache *mailcache.Cache // where mail is written
	// Turn is shared with the other workers of the process, if there are any.
	Turn    consume.Turn
	Logger  *slog.Logger
	Metrics prometheus.Registerer // where the service registers its metrics
	Health  *obs.Health           // where the service registers its checks for /readyz
}

// Service is the cachewarmer.
type Service struct {
	deps   Deps
	worker *consume.Worker
}

// New makes a cachewarmer; nothing happens before Run.
func New(deps Deps) (*Service, error) {
	h := newHandler(deps.Cache, deps.Metrics)
	worker, err := consume.New(deps.Conn, consume.Config{Consumer: stream.Cachewarmer, Unverified: true, Turn: deps.Turn}, h, deps.Logger, deps.Metrics)
	if err != nil {
		return nil, fmt.Errorf("making the worker: %w", err)
	}
	// The cache is not part of the health: without it mail is skipped and counted, and restarting this process would not help.
	deps.Health.Register("worker", worker.Health)
	return &Service{deps: deps, worker: worker}, nil
}

// Run warms until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	sub, err := stream.ShareStored(s.deps.Conn, stream.Cachewarmer, func(mails []stream.StoredMail) {
		var mailboxes []string
		for _, mail := range mails {
			mailboxes = append(mailboxes, mail.Mailboxes...)
		}
		s.deps.Cache.DeletePages(mailboxes)
	})
	if err != nil {
		return fmt.Errorf("subscribing to stored mail: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // an error would be that the connection is closed
	return s.worker.Run(ctx)
}
