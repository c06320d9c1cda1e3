package publish

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluice-mail/sluice/pkg/stream"
)

// TestShardsAboveAHole: the ingress cannot list the streams, and a missing one hides none that comes after it.
func TestShardsAboveAHole(t *testing.T) {
	log := startLog(t, stream.Shape{Shards: 4, Replicas: 1, MaxBytes: 64 << 20})
	for _, gone := range []int{0, 2} {
		if err := log.js.DeleteStream(t.Context(), stream.StreamName(gone)); err != nil {
			t.Fatal(err)
		}
	}
	p := startPublisher(t, log.nc, Config{})
	numbers := func() (known []int) {
		for _, s := range p.known() {
			known = append(known, s.number)
		}
		return known
	}
	become(t, time.Minute, "both shards are known", func() error {
		if got := fmt.Sprint(numbers()); got != "[1 3]" {
			return fmt.Errorf("known are %s", got)
		}
		return p.Ready()
	})
	if err := p.Publish(t.Context(), newMail(t, 1000)); err != nil {
		t.Error(err)
	}
	if err := stream.Ensure(t.Context(), log.nc, stream.Shape{Shards: 4, Replicas: 1, MaxBytes: 64 << 20}, stream.Durability(log.Durability()), discard()); err != nil {
		t.Fatal(err)
	}
	become(t, time.Minute, "all shards are known", func() error {
		if got := fmt.Sprint(numbers()); got != "[0 1 2 3]" {
			return fmt.Errorf("known are %s", got)
		}
		return nil
	})
}
