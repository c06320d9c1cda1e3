package retain_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/replays"
	"github.com/sluice-mail/sluice/pkg/stream/internal/streamtest"
	"github.com/sluice-mail/sluice/pkg/stream/retain"
)

// "--since 24h --name nightly" was interrupted days ago: the same words must not join its range, which is read.
func TestAReplayThatWasNotContinuedInTimeIsForgotten(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	f.Mails(0, 10)
	kv, err := f.JS.KeyValue(t.Context(), stream.ReplayBucket)
	if err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-72 * time.Hour)
	for name, created := range map[string]time.Time{"nightly": long, "running": long, "starting": time.Now()} {
		reg := replays.Registration{Created: created, Consumer: "replay-" + name + "-1", Ranges: []replays.Range{{From: 3, To: 7}}}
		body, err := json.Marshal(reg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Put(t.Context(), name, body); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.JS.CreateConsumer(t.Context(), "MAIL_0", jetstream.ConsumerConfig{Durable: "replay-running-1"}); err != nil {
		t.Fatal(err)
	}
	once(t, f, newJanitor(t, f, time.Hour, nil))
	for name, want := range map[string]string{"nightly": "", "running": "MAIL_0:3-7", "starting": "MAIL_0:3-7"} {
		if _, ranges, err := retain.ReplayRange(t.Context(), f.NC, name); err != nil || ranges != want {
			t.Errorf("the replay %s reads %q (%v), want %q", name, ranges, err, want)
		}
	}
}
