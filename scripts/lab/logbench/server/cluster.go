package server

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

// Cluster is some servers that know each other. Each keeps its name, its addresses and its store over restarts.
type Cluster struct {
	options []Options
	servers []*Server // nil while it does not run
}

// StartCluster starts n servers like o, each with a store of its own in the directory o.Store. One alone is no
// cluster, just a server.
func StartCluster(ctx context.Context, o Options, n int) (*Cluster, error) {
	c := &Cluster{options: make([]Options, n), servers: make([]*Server, n)}
	var routes []string
	peers := make([]string, n)
	for i := range peers {
		peers[i] = fleet.FreeAddr()
		routes = append(routes, fmt.Sprintf("%q", "nats://"+peers[i]))
	}
	for i := range n {
		m := o
		m.Store = filepath.Join(o.Store, c.Name(i))
		m.URL, m.Monitor = "nats://"+fleet.FreeAddr(), "http://"+fleet.FreeAddr()
		if n > 1 {
			m.cluster = fmt.Sprintf("server_name: %s\ncluster { name: lab, listen: %q, routes: [%s] }\n",
				c.Name(i), peers[i], strings.Join(routes, ", "))
		}
		c.options[i] = m
	}
	if err := os.MkdirAll(o.Store, 0o755); err != nil {
		return nil, err
	}
	return c, c.Restart(ctx)
}

// Size is how many servers there are, running or not.
func (c *Cluster) Size() int { return len(c.options) }

// Name of a server.
func (c *Cluster) Name(i int) string { return fmt.Sprintf("n%d", i) }

// Index of the server of that name, -1 for none.
func (c *Cluster) Index(name string) int {
	for i := range c.servers {
		if c.Name(i) == name {
			return i
		}
	}
	return -1
}

// URL leads a client to whichever server is there.
func (c *Cluster) URL() string {
	return c.list(func(o Options) string { return o.URL })
}

// Monitor is where every server can be asked about itself.
func (c *Cluster) Monitor() string {
	return c.list(func(o Options) string { return o.Monitor })
}

func (c *Cluster) list(of func(Options) string) string {
	var all []string
	for _, o := range c.options {
		all = append(all, of(o))
	}
	return strings.Join(all, ",")
}

// Start starts one server.
func (c *Cluster) Start(ctx context.Context, i int) (err error) {
	c.servers[i], err = Start(ctx, c.options[i])
	if err != nil {
		return fmt.Errorf("server %s: %w", c.Name(i), err)
	}
	return nil
}

// Kill ends one server at once.
func (c *Cluster) Kill(i int) {
	if s := c.servers[i]; s != nil {
		s.Kill()
		c.servers[i] = nil
	}
}

// KillAll ends every server, all in the same moment.
func (c *Cluster) KillAll() {
	var ends sync.WaitGroup
	for i := range c.servers {
		ends.Go(func() { c.Kill(i) })
	}
	ends.Wait()
}

// Stop ends every server in an orderly way.
func (c *Cluster) Stop() {
	for i, s := range c.servers {
		if s != nil {
			s.Stop()
			c.servers[i] = nil
		}
	}
}

// Server is the one of that number; nil while it does not run.
func (c *Cluster) Server(i int) *Server { return c.servers[i] }

// Store is the directory of a server.
func (c *Cluster) Store(i int) string { return c.options[i].Store }

// CPU is the processor time that the servers have used, all together.
func (c *Cluster) CPU() (sum time.Duration) {
	for _, s := range c.servers {
		if s != nil {
			sum += s.CPU()
		}
	}
	return sum
}

// Restart kills every server and starts them again.
func (c *Cluster) Restart(ctx context.Context) error {
	c.KillAll()
	for i := range c.servers {
		if err := c.Start(ctx, i); err != nil {
			c.KillAll()
			return err
		}
	}
	return nil
}

// Healthy waits until every server says that all its streams and consumers are as they should be.
func (c *Cluster) Healthy(ctx context.Context) error {
	for i, o := range c.options {
		for {
			why := "no answer"
			if resp, err := http.Get(o.Monitor + "/healthz"); err == nil {
				why = resp.Status
				_ = resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					break
				}
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("server %s does not become healthy (%s): %w", c.Name(i), why, ctx.Err())
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}
