package stream_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/streamtest"
)

// TestStandaloneStoreInAClusterIsRefused, while its mail is still there.
func TestStandaloneStoreInAClusterIsRefused(t *testing.T) {
	c := streamtest.PrepareCluster(t, 3)
	first := c.Options[0]
	clustered := first.Clone()
	first.Cluster, first.Routes = server.ClusterOpts{}, nil
	c.Start(0)
	if !c.Servers[0].ReadyForConnections(20 * time.Second) {
		t.Fatal("the standalone server does not start")
	}
	alone, err := nats.Connect(c.Servers[0].ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	shape := stream.Shape{Shards: 1, Replicas: 1, MaxBytes: 64 << 20}
	if err := stream.Ensure(t.Context(), alone, shape, stream.SyncedSingle, discard()); err != nil {
		t.Fatal(err)
	}
	alone.Close()
	c.Stop(0)
	c.Options[0] = clustered
	for i := range c.Servers {
		c.Start(i)
	}
	nc, _ := c.Connect()
	var durability stream.Durability
	streamtest.Become(t, time.Minute, "the orphaned stream is noticed", func() (err error) {
		durability, err = stream.ReadDurability(t.Context(), c.Monitors(), nc)
		if !errors.Is(err, stream.ErrOrphaned) {
			return fmt.Errorf("told %v", err)
		}
		return nil
	})
	if err := stream.Ensure(t.Context(), nc, shape, durability, discard()); !errors.Is(err, stream.ErrOrphaned) {
		t.Errorf("Ensure told %v, want %v", err, stream.ErrOrphaned)
	}
}
