package stream_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/streamtest"
)

func durabilityOf(f *streamtest.Fixture) stream.Durability {
	return stream.Durability(f.Stream(stream.StreamName(0)).CachedInfo().Config.Metadata[stream.DurabilityKey])
}

// A monitor that is away, or that nobody named, when a storer starts must not make every ingress refuse all mail.
func TestDurabilityThatCannotBeReadOverwritesNothing(t *testing.T) {
	f := ensured(t, oneShard())
	for _, read := range []stream.Durability{stream.UnknownDurability, ""} {
		if err := stream.Ensure(t.Context(), f.NC, oneShard(), read, discard()); err != nil {
			t.Fatal(err)
		}
		if got := durabilityOf(f); got != stream.SyncedSingle {
			t.Fatalf("after a reading of %q the stream says %q", read, got)
		}
	}
	if err := stream.Ensure(t.Context(), f.NC, oneShard(), stream.UnsyncedSingle, discard()); err != nil {
		t.Fatal(err)
	}
	if got := durabilityOf(f); got != stream.UnsyncedSingle {
		t.Errorf("a server that was read not to sync leaves %q", got)
	}
}

func TestAChangedSyncSettingIsNoted(t *testing.T) {
	f := ensured(t, oneShard())
	for _, step := range []struct{ read, want stream.Durability }{
		{stream.UnknownDurability, stream.SyncedSingle},
		{stream.UnsyncedSingle, stream.UnsyncedSingle},
		{stream.UnknownDurability, stream.UnsyncedSingle},
		{stream.SyncedQuorum, stream.SyncedSingle}, // of a stream on one server
	} {
		if err := stream.NoteDurability(t.Context(), f.NC, step.read, discard()); err != nil {
			t.Fatal(err)
		}
		if got := durabilityOf(f); got != step.want {
			t.Errorf("after a reading of %q the stream says %q, want %q", step.read, got, step.want)
		}
	}
}

// Two of three monitors do not answer, and the third tells of a server that does not sync: that is known.
func TestOneServerThatDoesNotSyncIsEnoughToKnow(t *testing.T) {
	unsynced := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answers := map[string]string{"/varz": `{"server_name":"a"}`, "/jsz": `{"config":{"sync_always":false},"meta_cluster":{"cluster_size":3}}`}
		_, _ = w.Write([]byte(answers[r.URL.Path]))
	}))
	t.Cleanup(unsynced.Close)
	got, err := stream.ReadDurability(t.Context(), "http://127.0.0.1:1,"+unsynced.URL+",http://127.0.0.1:1", nil)
	if got != stream.UnsyncedQuorum || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
