package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/sluice-mail/sluice/pkg/lifecycle"
	"github.com/sluice-mail/sluice/pkg/mailcache"
	"github.com/sluice-mail/sluice/pkg/mailcache/embedded"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/natsd"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/consume"
	"github.com/sluice-mail/sluice/services/cachewarmer"
	"github.com/sluice-mail/sluice/services/ingress"
	"github.com/sluice-mail/sluice/services/internal/database"
	"github.com/sluice-mail/sluice/services/internal/datadir"
	"github.com/sluice-mail/sluice/services/internal/logconn"
	"github.com/sluice-mail/sluice/services/internal/process"
	"github.com/sluice-mail/sluice/services/mailbox"
	"github.com/sluice-mail/sluice/services/storer"
)

const (
	cacheBytes = 64 << 20
	// stopGrace bounds the stop of a part that has nothing of its own to finish; finishGrace that of the services.
	stopGrace   = 10 * time.Second
	finishGrace = 30 * time.Second
)

// parts are the parts of the process as they come into being.
type parts struct {
	cfg    *config
	env    *process.Env
	dir    datadir.Dir
	server *natsd.Server // nil when NATS_URL says that the log is elsewhere
	store  mailstore.Store
	turn   consume.Turn
	cached *mailcache.Cache
	smtp   net.Addr
	http   net.Addr // nil without the inbox
	closes []func()
}

// close undoes what is not an actor of the group, newest first.
func (p *parts) close() {
	for i := len(p.closes) - 1; i >= 0; i-- {
		p.closes[i]()
	}
}

// metrics keeps the services' metrics apart: three of them have a worker or a connection of the same kind.
func (p *parts) metrics(service string) prometheus.Registerer {
	return prometheus.WrapRegistererWith(prometheus.Labels{"service": service}, p.env.Metrics)
}

// directory locks the data directory, because two servers on one store would destroy it.
func (p *parts) directory(*lifecycle.Group) error {
	p.dir = datadir.Dir(p.cfg.Log.Dir)
	if err := os.MkdirAll(string(p.dir), 0o700); err != nil {
		return fmt.Errorf("making the data directory, SLUICE_DATA=%s: %w", p.dir, err)
	}
	lock, err := os.OpenFile(p.dir.Lock(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("locking the data directory, SLUICE_DATA=%s: %w", p.dir, err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return fmt.Errorf("another allinone uses the data directory SLUICE_DATA=%s; stop it, or choose another directory", p.dir)
	}
	p.closes = append(p.closes, func() { lock.Close() })
	return nil
}

func (p *parts) log(group *lifecycle.Group) error {
	if datadir.IsSet("NATS_URL") {
		return nil
	}
	server, err := natsd.Start(natsd.Options{
		Dir:      p.dir.Log(),
		MaxStore: 1 << 50, // the streams have bounds of their own, which never shrink with the free disk
		Token:    rand.Text(),
		Logger:   p.env.Logger.With("part", "nats"),
	})
	if err != nil {
		return err
	}
	p.server = server
	if err := p.dir.WriteNATSURL(server.URL()); err != nil {
		server.Shutdown()
		return err
	}
	group.Add("log", stopGrace, func(ctx context.Context) error {
		<-ctx.Done()
		server.Shutdown()
		return nil
	})
	return nil
}

// connect gives a service its own connection: in-process where the log is.
func (p *parts) connect(service string) (*nats.Conn, error) {
	var (
		conn *nats.Conn
		err  error
	)
	if p.server != nil {
		conn, err = p.server.Connect(nats.Name("sluice-" + service))
	} else {
		conn, err = logconn.Connect(p.cfg.Log, service, p.env.Logger)
	}
	if err == nil {
		p.closes = append(p.closes, conn.Close)
	}
	return conn, err
}

func (p *parts) database(*lifecycle.Group) error {
	store, err := database.Open(p.cfg.Database, p.cfg.Write, string(p.dir), false, p.env.Logger, p.metrics("storer"))
	if err != nil {
		return err
	}
	p.store = store
	p.closes = append(p.closes, func() {
		if err := store.Close(); err != nil {
			p.env.Logger.Error("closing the database", "error", err)
		}
	})
	return nil
}

func (p *parts) storer(group *lifecycle.Group) error {
	conn, err := p.connect("storer")
	if err != nil {
		return err
	}
	s, err := storer.New(p.cfg.Storer, storer.Deps{
		Conn: conn, Store: p.store, Turn: p.turn, Workers: p.cfg.Write.Conns, Retention: p.cfg.Write.Retention,
		Durability: func(ctx context.Context) (stream.Durability, error) {
			if p.server != nil {
				return stream.Durability(p.server.Durability()), nil
			}
			return stream.ReadDurability(ctx, p.cfg.Log.MonitorURL, conn)
		},
		Logger: p.env.Logger, Metrics: p.metrics("storer"), Health: p.env.Health,
	})
	if err != nil {
		return err
	}
	group.Add("storer", finishGrace, s.Run)
	return nil
}

func (p *parts) cachewarmer(group *lifecycle.Group) error {
	conn, err := p.connect("cachewarmer")
	if err != nil {
		return err
	}
	cfg, dial, err := p.cache()
	if err != nil {
		return err
	}
	cache := mailcache.New(cfg, dial, p.env.Logger, p.metrics("cachewarmer"))
	p.cached = cache
	p.closes = append(p.closes, cache.Close)
	s, err := cachewarmer.New(cachewarmer.Deps{
		Conn: conn, Cache: cache, Turn: p.turn, Logger: p.env.Logger, Metrics: p.metrics("cachewarmer"), Health: p.env.Health,
	})
	if err != nil {
		return err
	}
	group.Add("cachewarmer", finishGrace, s.Run)
	return nil
}

// cache is the one in this process, unless MEMCACHED_ADDRS names servers.
func (p *parts) cache() (mailcache.Config, mailcache.DialFunc, error) {
	if datadir.IsSet("MEMCACHED_ADDRS") {
		return mailcache.Config{Addrs: p.cfg.Warmer.Addrs, TTL: p.cfg.Warmer.TTL}, nil, nil
	}
	server, err := embedded.New(cacheBytes)
	if err != nil {
		return mailcache.Config{}, nil, err
	}
	p.closes = append(p.closes, server.Close)
	return mailcache.Config{Addrs: []string{"127.0.0.1:11211"}, TTL: p.cfg.Warmer.TTL}, server.DialContext, nil
}

// mailbox serves the inbox, unless MAILBOX_ADDR is off.
func (p *parts) mailbox(group *lifecycle.Group) error {
	if p.cfg.Mailbox.Addr == "" {
		return nil
	}
	store, ok := p.store.(mailbox.Store)
	if !ok {
		return errors.New("the inbox cannot read this kind of database")
	}
	conn, err := p.connect("mailbox")
	if err != nil {
		return err
	}
	s, err := mailbox.New(p.cfg.Mailbox, mailbox.Deps{
		Conn: conn, Store: store, Cache: p.cached, Logger: p.env.Logger, Metrics: p.metrics("mailbox"), Health: p.env.Health, LogPII: p.env.Log.PII,
	})
	if err != nil {
		return err
	}
	p.http = s.Addr()
	group.Add("mailbox", s.StopTime(), s.Run)
	return nil
}

func (p *parts) ingress(group *lifecycle.Group) error {
	if err := p.certificate(); err != nil {
		return err
	}
	conn, err := p.connect("ingress")
	if err != nil {
		return err
	}
	s, err := ingress.New(p.cfg.Ingress, ingress.Deps{
		Conn: conn, AllowUnsynced: p.cfg.Storer.Shape.AllowUnsynced, LogPII: p.env.Log.PII,
		Logger: p.env.Logger, Metrics: p.metrics("ingress"), Health: p.env.Health,
	})
	if err != nil {
		return err
	}
	p.smtp = s.Addr()
	group.Add("ingress", p.cfg.Ingress.StopTime(), s.Run)
	return nil
}

// welcome says in plain words what runs where.
func (p *parts) welcome() {
	where := "NATS_URL"
	if p.server != nil {
		where = p.dir.Log()
	}
	_, port, err := net.SplitHostPort(p.smtp.String())
	if err != nil {
		p.env.Logger.Error("reading the address of the listener", "error", err)
	}
	read := "the inbox is off (MAILBOX_ADDR)"
	if p.http != nil {
		read = "open http://" + visible(p.http)
	}
	fmt.Fprintf(p.env.Stdout, `Sluice accepts mail by SMTP on %s for %s.
  send:  curl smtp://127.0.0.1:%s --mail-from a@b.example --mail-rcpt u@example.com -T mail.eml
  read:  %s
  data:  SLUICE_DATA=%s (log in %s, database %s)
  more:  SLUICE_DATA=%s go run ./services/sluicectl status
  stop:  Ctrl-C
`, p.smtp, p.cfg.Ingress.Domains, port, read, p.dir, where, database.Target(p.cfg.Database, string(p.dir)), p.dir)
}

// visible is an address as one types it into a browser.
func visible(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || !tcp.IP.IsLoopback() && !tcp.IP.IsUnspecified() {
		return a.String()
	}
	return net.JoinHostPort("localhost", strconv.Itoa(tcp.Port))
}
