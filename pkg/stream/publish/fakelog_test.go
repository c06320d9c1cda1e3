package publish

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/stream"
)

// startSilentLog is a publisher of a server without JetStream, where nobody answers.
func startSilentLog(t *testing.T) *Publisher {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	nc := connectTo(t, s.ClientURL())
	p := New(nc, Config{}, discard(), prometheus.NewRegistry())
	p.link.set(true)
	if p.replies, err = newReplies(nc); err != nil {
		t.Fatal(err)
	}
	return p
}

func connectTo(t *testing.T, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func testShard(p *Publisher, number int) *shard {
	s := &shard{number: number, logger: discard(), metrics: p.metrics, present: true, durability: stream.SyncedSingle}
	s.driver = newDriver(p, s)
	return s
}
