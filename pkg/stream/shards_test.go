package stream_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/streamtest"
)

// holed is a log whose first shard is missing; the others, 1 and 3, have mail.
func holed(t *testing.T) *streamtest.Fixture {
	t.Helper()
	f := streamtest.New(t, 64<<20)
	for _, shard := range []int{1, 3} {
		f.AddShard(shard)
		f.Mails(shard, shard)
	}
	if err := f.JS.DeleteStream(t.Context(), stream.StreamName(0)); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestAHoleInTheShardsHidesNone(t *testing.T) {
	f := holed(t)
	bounds, err := stream.NewReader(f.NC).Snapshot(t.Context(), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	want := []stream.Bounds{{Shard: 1, From: 1, To: 1}, {Shard: 3, From: 1, To: 3}}
	if len(bounds) != 2 || bounds[0] != want[0] || bounds[1] != want[1] {
		t.Errorf("the shards are %v, want %v", bounds, want)
	}
}

func TestEnsureFillsAHoleAndLooksAfterTheShardsAboveIt(t *testing.T) {
	f := holed(t)
	shape := stream.Shape{Shards: 1, Replicas: 1, MaxBytes: 128 << 20}
	if err := stream.Ensure(t.Context(), f.NC, shape, stream.SyncedSingle, discard()); err != nil {
		t.Fatal(err)
	}
	for _, shard := range []int{0, 1, 3} {
		if got := f.Stream(stream.StreamName(shard)).CachedInfo().Config.MaxBytes; got != int64(shape.MaxBytes) {
			t.Errorf("%s has room for %d bytes, want %d", stream.StreamName(shard), got, shape.MaxBytes)
		}
	}
	if shards, err := stream.Shards(t.Context(), f.JS); err != nil || len(shards) != 3 {
		t.Errorf("the shards are %v (%v)", shards, err)
	}
}

func TestUnansweredNamesTheShards(t *testing.T) {
	err := error(stream.Unanswered{{Shard: 2, Err: errors.New("no leader")}})
	if !strings.Contains(err.Error(), "MAIL_2 does not answer: no leader") {
		t.Errorf("it says %q", err)
	}
}
