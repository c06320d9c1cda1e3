package publish

import (
	"testing"
	"time"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/streamtest"
)

// TestLeaderKilledUnderLoad: on three servers, one may go at any time; what was accepted is in the log.
func TestLeaderKilledUnderLoad(t *testing.T) {
	c := streamtest.StartCluster(t, 3)
	nc, js := c.Connect()
	durability, err := stream.ReadDurability(t.Context(), c.Monitors(), nc)
	if err != nil || durability != stream.SyncedQuorum {
		t.Fatalf("the durability is %q (%v), want %q", durability, err, stream.SyncedQuorum)
	}
	shape := stream.Shape{Shards: 1, Replicas: 3, MaxBytes: 64 << 20}
	become(t, time.Minute, "the streams are made", func() error {
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
		c.Stop(leader)
		l.more(t, 200)
		c.Start(leader)
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
