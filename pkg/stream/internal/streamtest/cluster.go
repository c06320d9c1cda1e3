package streamtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/stream"
)

// Cluster is several NATS servers in this process, each with its store, which can be stopped and started again.
type Cluster struct {
	// Options of each server; what is changed counts from its next start.
	Options []*server.Options
	// Servers that run; nil where one does not.
	Servers []*server.Server

	t testing.TB
}

// PrepareCluster chooses names, ports and stores for n servers and starts none.
func PrepareCluster(t testing.TB, n int) *Cluster {
	t.Helper()
	c := &Cluster{t: t, Servers: make([]*server.Server, n)}
	ports := FreePorts(t, 2*n)
	var routes []*url.URL
	for i := range n {
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", ports[2*i+1])})
	}
	for i := range n {
		c.Options = append(c.Options, &server.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: ports[2*i], HTTPHost: "127.0.0.1", HTTPPort: server.RANDOM_PORT,
			Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: ports[2*i+1]}, Routes: routes,
			JetStream: true, StoreDir: filepath.Join(t.TempDir(), "js"), JetStreamMaxStore: 2 << 30, JetStreamMaxMemory: 64 << 20,
			SyncAlways: true, NoSigs: true, NoLog: true,
		})
	}
	t.Cleanup(func() {
		for i := range c.Servers {
			c.Stop(i)
		}
	})
	return c
}

// StartCluster starts n servers; they end with the test.
func StartCluster(t testing.TB, n int) *Cluster {
	t.Helper()
	c := PrepareCluster(t, n)
	for i := range n {
		c.Start(i)
	}
	return c
}

// FreePorts are n ports of this machine that nobody listens on.
func FreePorts(t testing.TB, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// Start starts server i and does not wait for it.
func (c *Cluster) Start(i int) {
	c.t.Helper()
	s, err := server.NewServer(c.Options[i].Clone())
	if err != nil {
		c.t.Fatal(err)
	}
	c.Servers[i] = s
	s.Start()
}

// Stop ends server i, if it runs, and waits for that.
func (c *Cluster) Stop(i int) {
	if s := c.Servers[i]; s != nil {
		s.Shutdown()
		s.WaitForShutdown()
		c.Servers[i] = nil
	}
}

// URL leads to every server.
func (c *Cluster) URL() string {
	var list []string
	for _, o := range c.Options {
		list = append(list, fmt.Sprintf("nats://127.0.0.1:%d", o.Port))
	}
	return strings.Join(list, ",")
}

// Monitors are the monitoring endpoints, as in NATS_MONITOR_URL.
func (c *Cluster) Monitors() string {
	var list []string
	for _, s := range c.Servers {
		list = append(list, "http://"+s.MonitorAddr().String())
	}
	return strings.Join(list, ",")
}

// Connect waits until the cluster can make streams.
func (c *Cluster) Connect() (*nats.Conn, jetstream.JetStream) {
	c.t.Helper()
	nc, err := stream.Connect(stream.ConnConfig{URL: c.URL()}, stream.ConnOptions{Name: "test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(nc.Close)
	js := stream.JetStream(nc)
	Become(c.t, 60*time.Second, "the cluster has a leader", func() error {
		ctx, cancel := context.WithTimeout(c.t.Context(), time.Second)
		defer cancel()
		if _, err := js.AccountInfo(ctx); err != nil {
			return err
		}
		for _, s := range c.Servers {
			if s != nil && s.JetStreamIsLeader() {
				return nil
			}
		}
		return errors.New("it has none")
	})
	return nc, js
}
