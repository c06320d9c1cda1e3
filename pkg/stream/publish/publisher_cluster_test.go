package publish

import (
	"context"
	"errors"
	"fmt"
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

// cluster is three NATS servers in this process, each with its store, which can be stopped and started again.
type cluster struct {
	t       *testing.T
	options []*server.Options
	servers []*server.Server
}

// prepareCluster chooses names, ports and stores for n servers.
func prepareCluster(t *testing.T, n int) *cluster {
	t.Helper()
	c := &cluster{t: t, servers: make([]*server.Server, n)}
	ports := freePorts(t, 2*n)
	var routes []*url.URL
	for i := range n {
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", ports[2*i+1])})
	}
	for i := range n {
		c.options = append(c.options, &server.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: ports[2*i], HTTPHost: "127.0.0.1", HTTPPort: server.RANDOM_PORT,
			Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: ports[2*i+1]}, Routes: routes,
			JetStream: true, StoreDir: filepath.Join(t.TempDir(), "js"), JetStreamMaxStore: 2 << 30, JetStreamMaxMemory: 64 << 20,
			SyncAlways: true, NoSigs: true, NoLog: true,
		})
	}
	t.Cleanup(func() {
		for i := range c.servers {
			c.stop(i)
		}
	})
	return c
}

func startCluster(t *testing.T, n int) *cluster {
	t.Helper()
	c := prepareCluster(t, n)
	for i := range n {
		c.start(i)
	}
	return c
}

func freePorts(t *testing.T, n int) (ports []int) {
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

func (c *cluster) start(i int) {
	c.t.Helper()
	s, err := server.NewServer(c.options[i].Clone())
	if err != nil {
		c.t.Fatal(err)
	}
	c.servers[i] = s
	s.Start()
}

func (c *cluster) stop(i int) {
	if s := c.servers[i]; s != nil {
		s.Shutdown()
		s.WaitForShutdown()
		c.servers[i] = nil
	}
}

func (c *cluster) url() string {
	var list []string
	for _, o := range c.options {
		list = append(list, fmt.Sprintf("nats://127.0.0.1:%d", o.Port))
	}
	return strings.Join(list, ",")
}

func (c *cluster) monitors() string {
	var list []string
	for _, s := range c.servers {
		list = append(list, "http://"+s.MonitorAddr().String())
	}
	return strings.Join(list, ",")
}

// connect waits until the cluster can make streams.
func (c *cluster) connect() (*nats.Conn, jetstream.JetStream) {
	c.t.Helper()
	nc, err := stream.Connect(stream.ConnConfig{URL: c.url()}, stream.ConnOptions{Name: "test", Logger: discard()})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		c.t.Fatal(err)
	}
	become(c.t, 60*time.Second, "the cluster has a leader", func() error {
		ctx, cancel := context.WithTimeout(c.t.Context(), time.Second)
		defer cancel()
		if _, err := js.AccountInfo(ctx); err != nil {
			return err
		}
		for _, s := range c.servers {
			if s != nil && s.JetStreamIsLeader() {
				return nil
			}
		}
		return errors.New("it has none")
	})
	return nc, js
}

// TestLeaderKilledUnderLoad: on three servers, one may go at any time; what was accepted is in the log.
func TestLeaderKilledUnderLoad(t *testing.T) {
	c := startCluster(t, 3)
	nc, js := c.connect()
	durability, err := stream.ReadDurability(t.Context(), c.monitors(), nc)
	if err != nil || durability != stream.SyncedQuorum {
		t.Fatalf("the durability is %q (%v), want %q", durability, err, stream.SyncedQuorum)
	}
	shape := stream.Shape{Shards: 1, Replicas: 3, MaxBytes: 64 << 20}
	become(t, 30*time.Second, "the streams are made", func() error {
		return stream.Ensure(t.Context(), nc, shape, durability, discard())
	})
	p := startPublisher(t, nc, Config{})
	waitReady(t, p)
	l := startLoad(t, p, 32)
	for range 2 {
		l.more(t, 200)
		st, err := js.Stream(t.Context(), stream.StreamName(0))
		if err != nil {
			t.Fatal(err)
		}
		leader := int(st.CachedInfo().Cluster.Leader[1] - '0')
		c.stop(leader)
		l.more(t, 200)
		c.start(leader)
	}
	l.more(t, 200)
	m := largeTestMail(t, 5<<20)
	if err := p.Publish(t.Context(), m); err != nil {
		t.Errorf("a large mail: %v", err)
	}
	l.end()
	l.verify(t, js, 0)
	if err := readBack(t, js, m, heads(t, js, 0)[mailID(m)]); err != nil {
		t.Errorf("a large mail: %v", err)
	}
}

// TestStandaloneStoreInAClusterIsRefused, while its mail is still there.
func TestStandaloneStoreInAClusterIsRefused(t *testing.T) {
	c := prepareCluster(t, 3)
	first := c.options[0]
	clustered := first.Clone()
	first.Cluster, first.Routes = server.ClusterOpts{}, nil
	c.start(0)
	if !c.servers[0].ReadyForConnections(20 * time.Second) {
		t.Fatal("the standalone server does not start")
	}
	alone := connectTo(t, c.servers[0].ClientURL())
	shape := stream.Shape{Shards: 1, Replicas: 1, MaxBytes: 64 << 20}
	if err := stream.Ensure(t.Context(), alone, shape, stream.SyncedSingle, discard()); err != nil {
		t.Fatal(err)
	}
	alone.Close()
	c.stop(0)
	c.options[0] = clustered
	for i := range c.servers {
		c.start(i)
	}
	nc, _ := c.connect()
	var durability stream.Durability
	become(t, 20*time.Second, "the orphaned stream is noticed", func() (err error) {
		durability, err = stream.ReadDurability(t.Context(), c.monitors(), nc)
		if !errors.Is(err, stream.ErrOrphaned) {
			return fmt.Errorf("told %v", err)
		}
		return nil
	})
	if err := stream.Ensure(t.Context(), nc, shape, durability, discard()); !errors.Is(err, stream.ErrOrphaned) {
		t.Errorf("Ensure told %v, want %v", err, stream.ErrOrphaned)
	}
}
