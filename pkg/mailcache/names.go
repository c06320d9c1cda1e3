package mailcache

import (
	"context"
	"maps"
	"net"
	"slices"
	"strings"
	"time"
)

const lookupEvery = 30 * time.Second

// followNames drops the idle connections when a name leads somewhere else. New connections look their name up anyway,
// and connections to a server that is gone break; this is for a name that moved while the old server lives on.
func (c *Cache) followNames(ctx context.Context, lookup func(context.Context, string) ([]string, error)) {
	ticker := time.NewTicker(lookupEvery)
	defer ticker.Stop()
	known := c.lookup(ctx, nil, lookup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := c.lookup(ctx, known, lookup)
		if !maps.Equal(known, now) {
			c.logger.Info("the cache servers' names resolve to other addresses now")
			c.hangUp() // idle connections only; the clients stay usable
		}
		known = now
	}
}

// lookup resolves all names. One that cannot be resolved now is taken to be where it was.
func (c *Cache) lookup(ctx context.Context, known map[string]string, lookup func(context.Context, string) ([]string, error)) map[string]string {
	found := map[string]string{}
	for _, s := range c.servers {
		host, _, err := net.SplitHostPort(s.name)
		if err != nil || net.ParseIP(host) != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		addrs, err := lookup(ctx, host)
		cancel()
		if found[s.name] = known[s.name]; err == nil {
			slices.Sort(addrs)
			found[s.name] = strings.Join(addrs, " ")
		}
	}
	return found
}
