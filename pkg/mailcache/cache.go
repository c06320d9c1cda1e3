package mailcache

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// Config is how to use the servers.
type Config struct {
	Addrs   []string      // host:port of each server
	TTL     time.Duration // of message items; ±10 % so that they do not all expire at once; 0 means 1 h
	Timeout time.Duration // of one operation; 0 means 100 ms
}

// DialFunc connects to a server.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// Cache is a client of the servers. It is safe for concurrent use. Its methods never return errors of the cache: what
// cannot be read is a miss, and what cannot be written is not cached. Metrics count both.
type Cache struct {
	client  *memcache.Client // for all but what a sender does
	servers servers
	dial    DialFunc
	grouped bool // a sender sends many requests at once
	ttl     time.Duration
	timeout time.Duration
	logger  *slog.Logger
	ops     *prometheus.CounterVec
	stop    context.CancelFunc
	closing context.Context // a Cache lives longer than any one call
	running sync.WaitGroup

	mu   sync.Mutex
	idle []*sender
}

const (
	idleConns = 64 // per server: as many as there may be goroutines at it, or connections are made over and over
	// longestTTL is Memcached's: it takes a larger number for a Unix time, which is long past.
	longestTTL = 30 * 24 * time.Hour
)

// New returns a Cache. dial is nil for TCP. The servers may be away.
func New(cfg Config, dial DialFunc, logger *slog.Logger, reg prometheus.Registerer) *Cache {
	if cfg.TTL <= 0 {
		cfg.TTL = time.Hour
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 100 * time.Millisecond
	}
	c := &Cache{servers: newServers(cfg.Addrs, time.Now), dial: dial, ttl: min(cfg.TTL, longestTTL*9/10), timeout: cfg.Timeout, logger: logger}
	c.closing, c.stop = context.WithCancel(context.Background())
	c.ops = c.register(reg)
	if dial == nil { // else it is within this process: there are no system calls to save, and no buffers for a second request
		c.dial, c.grouped = (&net.Dialer{}).DialContext, true
		c.running.Go(func() { c.followNames(c.closing, net.DefaultResolver.LookupHost) })
	}
	c.client = memcache.NewFromSelector(c.servers)
	c.client.Timeout, c.client.MaxIdleConns, c.client.DialContext = cfg.Timeout, idleConns, c.dial
	return c
}

// Message finds a mail.
func (c *Cache) Message(id ulid.ULID) (Item, bool) {
	var found *memcache.Item
	err := c.do("get_message", messageKey(id), func(key string) (err error) {
		found, err = c.client.Get(key)
		return err
	})
	if err != nil {
		return Item{}, false
	}
	item, err := decodeItem(found.Value)
	return item, err == nil
}

// Ping says whether all servers answer.
func (c *Cache) Ping() error { return c.client.Ping() }

// Close drops the connections.
func (c *Cache) Close() {
	c.stop()
	c.running.Wait()
	c.hangUp()
}

// hangUp closes the idle connections. An error would be about one of those.
func (c *Cache) hangUp() {
	_ = c.client.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.idle {
		s.hangUp()
	}
}

// errOpen means that the server is left alone for now.
var errOpen = errors.New("the cache server did not answer, and gets no requests for a moment")

// do runs one operation on the server of a key, unless that one is known not to answer.
func (c *Cache) do(op, key string, run func(key string) error) error {
	s := c.servers.pick(key)
	if s == nil {
		c.count(op, memcache.ErrNoServers)
		return memcache.ErrNoServers
	}
	err := errOpen
	c.reach(s, func() error {
		err = run(key)
		s.breaker.done(answered(err))
		return err
	})
	c.count(op, err)
	return err
}

// reach runs operations on a server, unless that is known not to answer. run tells the breaker how they ended, and returns the last
// error.
func (c *Cache) reach(s *server, run func() error) (reached bool) {
	if !s.breaker.allow() {
		return false
	}
	wasOpen := s.breaker.open()
	err := run()
	switch isOpen := s.breaker.open(); {
	case isOpen && !wasOpen:
		c.logger.Warn("cache server does not answer; mail is read from the database meanwhile", "server", s.name, "error", err)
	case wasOpen && !isOpen:
		c.logger.Info("cache server answers again", "server", s.name)
	}
	return true
}

// answered tells an answer of the server, liked or not, from its silence.
func answered(err error) bool {
	return err == nil || errors.Is(err, memcache.ErrCacheMiss) || errors.Is(err, memcache.ErrNotStored) ||
		errors.Is(err, memcache.ErrCASConflict) || errors.Is(err, memcache.ErrMalformedKey)
}

func seconds(d time.Duration) int32 { return int32(max(1, d/time.Second)) }

func messageKey(id ulid.ULID) string {
	key := [2 + ulid.EncodedSize]byte{'m', ':'}
	_ = id.MarshalTextTo(key[2:]) // an error would be that there is no room
	return string(key[:])
}
