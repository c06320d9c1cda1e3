package consume_test

import (
	"strings"
	"testing"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/consume"
	"github.com/sluice-mail/sluice/pkg/stream/internal/streamtest"
)

// holed is a log with the shards 1 and 3 alone, and 5 mails in each.
func holed(t *testing.T) *streamtest.Fixture {
	t.Helper()
	f := streamtest.New(t, 64<<20)
	for _, shard := range []int{1, 3} {
		f.AddShard(shard)
		f.Mails(shard, 5)
	}
	if err := f.JS.DeleteStream(t.Context(), stream.StreamName(0)); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestAWorkerConsumesTheShardsAboveAHole(t *testing.T) {
	f := holed(t)
	rec := streamtest.NewRecorder(nil)
	f.Worker(consume.Config{}, rec)
	streamtest.Eventually(t, "the mail of both shards", func() bool { return rec.Total() == 10 })
	f.AddShard(0)
	f.Mails(0, 5)
	streamtest.Eventually(t, "the mail of the shard that is there again", func() bool { return rec.Total() == 15 })
}

// A shard without the consumer is waited for, and the others are consumed.
func TestAShardWithoutItsConsumerStopsOnlyItself(t *testing.T) {
	f := holed(t)
	if err := f.JS.DeleteConsumer(t.Context(), stream.StreamName(1), stream.Storer); err != nil {
		t.Fatal(err)
	}
	rec := streamtest.NewRecorder(nil)
	f.Worker(consume.Config{}, rec)
	streamtest.Eventually(t, "the mail of the other shard", func() bool { return rec.Total() == 5 })
	f.AddShard(1)
	streamtest.Eventually(t, "the mail of the shard that has its consumer again", func() bool { return rec.Total() == 10 })
}

func TestAReplayOfAShardAboveAHole(t *testing.T) {
	f := holed(t)
	sum, err := replay(f.Context(), f, consume.Replay{Shards: []int{3}}, streamtest.NewRecorder(nil))
	if err != nil || sum.Done != 5 {
		t.Errorf("%+v, %v", sum, err)
	}
	if _, err := replay(f.Context(), f, consume.Replay{Shards: []int{2}}, streamtest.NewRecorder(nil)); err == nil || !strings.Contains(err.Error(), "the log has the shards 1, 3") {
		t.Errorf("of a shard that is not there: %v", err)
	}
}
