package stream_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/natsd"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/streamtest"
	"github.com/sluice-mail/sluice/pkg/stream/publish"
)

// ensured is a log that Ensure brought to that shape.
func ensured(t *testing.T, shape stream.Shape) *streamtest.Fixture {
	t.Helper()
	s, err := natsd.Start(natsd.Options{Dir: t.TempDir(), MaxStore: 4 << 30})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	nc, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if err := stream.Ensure(t.Context(), nc, shape, stream.Durability(s.Durability()), discard()); err != nil {
		t.Fatal(err)
	}
	return streamtest.On(t, s, nc, int64(shape.MaxBytes))
}

func oneShard() stream.Shape { return stream.Shape{Shards: 1, Replicas: 1, MaxBytes: 512 << 20} }

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestEnsureMakesWhatTheServicesNeed(t *testing.T) {
	f := ensured(t, stream.Shape{Shards: 2, Replicas: 1, MaxBytes: 64 << 20})
	for number := range 2 {
		st, err := f.JS.Stream(t.Context(), stream.StreamName(number))
		if err != nil {
			t.Fatal(err)
		}
		c := st.CachedInfo().Config
		if c.Retention != jetstream.LimitsPolicy || c.Discard != jetstream.DiscardNew || c.MaxAge != 0 || c.MaxMsgs != -1 ||
			!c.AllowAtomicPublish || !c.AllowDirect || !c.DenyDelete || c.DenyPurge || c.Metadata[stream.DurabilityKey] != string(stream.SyncedSingle) {
			t.Errorf("the stream %s is %+v", c.Name, c)
		}
		for _, name := range []string{stream.Storer, stream.Cachewarmer} {
			cons, err := st.Consumer(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			cc := cons.CachedInfo().Config
			if cc.FilterSubject != stream.HeadSubject(number) || cc.MaxDeliver != -1 || cc.MaxAckPending != stream.MaxAckPending || cc.AckWait != stream.AckWait || cc.DeliverPolicy != jetstream.DeliverAllPolicy {
				t.Errorf("the consumer %s is %+v", name, cc)
			}
		}
	}
	for _, bucket := range []string{stream.PolicyBucket, stream.LeaseBucket, stream.ReplayBucket, stream.AuditBucket, stream.TombstoneBucket} {
		if _, err := f.JS.KeyValue(t.Context(), bucket); err != nil {
			t.Errorf("the bucket %s: %v", bucket, err)
		}
	}
	if _, err := f.JS.Stream(t.Context(), stream.DeadStream); err != nil {
		t.Errorf("the stream %s: %v", stream.DeadStream, err)
	}
}

// TestEnsureGrowsAndNeverShrinks: again changes nothing, more grows, less is ignored, and no mail is lost in any.
func TestEnsureGrowsAndNeverShrinks(t *testing.T) {
	f := ensured(t, stream.Shape{Shards: 2, Replicas: 1, MaxBytes: 64 << 20})
	f.Mail(0, "one\r\n")
	for _, tt := range []struct {
		shape  stream.Shape
		shards int
		bytes  int64
	}{
		{stream.Shape{Shards: 2, Replicas: 1, MaxBytes: 64 << 20}, 2, 64 << 20},
		{stream.Shape{Shards: 3, Replicas: 1, MaxBytes: 128 << 20}, 3, 128 << 20},
		{stream.Shape{Shards: 1, Replicas: 1, MaxBytes: 32 << 20}, 3, 128 << 20},
	} {
		if err := stream.Ensure(t.Context(), f.NC, tt.shape, stream.SyncedSingle, discard()); err != nil {
			t.Fatalf("%+v: %v", tt.shape, err)
		}
		for number := range tt.shards {
			st, err := f.JS.Stream(t.Context(), stream.StreamName(number))
			if err != nil {
				t.Fatalf("%+v: %s: %v", tt.shape, stream.StreamName(number), err)
			}
			if got := st.CachedInfo().Config.MaxBytes; got != tt.bytes {
				t.Errorf("%+v: %s has room for %d bytes, want %d", tt.shape, stream.StreamName(number), got, tt.bytes)
			}
		}
	}
	if got := f.State(stream.StreamName(0)).Msgs + f.State(stream.StreamName(1)).Msgs; got != 1 {
		t.Errorf("%d mails in the log, want 1", got)
	}
}

// TestEnsureKeepsTheStorersPlace: an existing consumer keeps its position.
func TestEnsureKeepsTheStorersPlace(t *testing.T) {
	f := ensured(t, oneShard())
	f.Mail(0, "one\r\n")
	c, err := f.JS.Consumer(t.Context(), stream.StreamName(0), stream.Storer)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := c.Next(jetstream.FetchMaxWait(10 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if err := msg.DoubleAck(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := stream.Ensure(t.Context(), f.NC, oneShard(), stream.SyncedSingle, discard()); err != nil {
		t.Fatal(err)
	}
	info, err := c.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.AckFloor.Stream != 1 {
		t.Errorf("the storer's floor is %d, want 1", info.AckFloor.Stream)
	}
}

// TestDurabilityIsRewritten: a server whose setting changed changes what the ingress reads.
func TestDurabilityIsRewritten(t *testing.T) {
	f := ensured(t, oneShard())
	p := publish.New(f.NC, publish.Config{}, f.Logger(), prometheus.NewRegistry())
	f.Run(p.Run)
	streamtest.Become(t, time.Minute, "the publisher is ready", p.Ready)
	if err := stream.Ensure(t.Context(), f.NC, oneShard(), stream.UnsyncedSingle, discard()); err != nil {
		t.Fatal(err)
	}
	streamtest.Become(t, time.Minute, "the publisher refuses the log", func() error {
		if p.Ready() == nil {
			return publish.ErrUnsynced
		}
		return nil
	})
}

func TestForeignStreamIsRefused(t *testing.T) {
	for name, foreign := range map[string]jetstream.StreamConfig{
		"work queue": {Name: stream.StreamName(0), Subjects: []string{stream.HeadSubject(0)}, Retention: jetstream.WorkQueuePolicy},
		"in memory":  {Name: stream.StreamName(0), Subjects: []string{stream.HeadSubject(0)}, Storage: jetstream.MemoryStorage},
		"async":      {Name: stream.StreamName(0), Subjects: []string{stream.HeadSubject(0)}, PersistMode: jetstream.AsyncPersistMode},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := natsd.Start(natsd.Options{Dir: t.TempDir(), MaxStore: 1 << 30})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Shutdown()
			nc, err := s.Connect()
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			js, _ := jetstream.New(nc)
			if _, err := js.CreateStream(t.Context(), foreign); err != nil {
				t.Fatal(err)
			}
			err = stream.Ensure(t.Context(), nc, stream.Shape{Shards: 1, Replicas: 1, MaxBytes: 64 << 20}, stream.SyncedSingle, discard())
			if err == nil || !strings.Contains(err.Error(), stream.StreamName(0)) {
				t.Errorf("told %v", err)
			}
		})
	}
}

func TestShapesThatCannotBe(t *testing.T) {
	for _, s := range []stream.Shape{
		{Shards: 0, Replicas: 1, MaxBytes: 1 << 30},
		{Shards: 1, Replicas: 2, MaxBytes: 1 << 30},
		{Shards: 1, Replicas: 1, MaxBytes: 1},
	} {
		if err := s.Check(); err == nil {
			t.Errorf("%+v is accepted", s)
		}
	}
}

func TestOldServerIsRefused(t *testing.T) {
	for _, tt := range []struct {
		have string
		old  bool
	}{{"2.15.1", false}, {"2.15.2", false}, {"2.16.0-RC.1", false}, {"3.0.0", false}, {"2.15.0", true}, {"2.9.30", true}, {"1.99.99", true}} {
		if got := stream.Older(tt.have, stream.MinServer); got != tt.old {
			t.Errorf("%s older than %s: %v", tt.have, stream.MinServer, got)
		}
	}
}

func TestReadDurability(t *testing.T) {
	server := func(name string, synced bool, size int) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			js := map[string]any{"config": map[string]any{"sync_always": synced}}
			if size > 1 {
				js["meta_cluster"] = map[string]any{"cluster_size": size}
			}
			answers := map[string]any{"/varz": map[string]any{"server_name": name}, "/jsz": js}
			_ = json.NewEncoder(w).Encode(answers[r.URL.Path])
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	for name, tt := range map[string]struct {
		urls []string
		want stream.Durability
		fail bool
	}{
		"one":                {[]string{server("a", true, 1)}, stream.SyncedSingle, false},
		"one, unsynced":      {[]string{server("a", false, 1)}, stream.UnsyncedSingle, false},
		"three":              {[]string{server("a", true, 3), server("b", true, 3), server("c", true, 3)}, stream.SyncedQuorum, false},
		"three, one is not":  {[]string{server("a", true, 3), server("b", false, 3), server("c", true, 3)}, stream.UnsyncedQuorum, false},
		"three, two named":   {[]string{server("a", true, 3), server("b", true, 3)}, stream.UnknownDurability, true},
		"the same one twice": {[]string{server("a", true, 2), server("a", true, 2)}, stream.UnknownDurability, true},
		"not set":            {nil, stream.UnknownDurability, true},
		"nobody there":       {[]string{"http://127.0.0.1:1"}, stream.UnknownDurability, true},
		"not a URL":          {[]string{"::"}, stream.UnknownDurability, true},
	} {
		got, err := stream.ReadDurability(t.Context(), strings.Join(tt.urls, ","), nil)
		if got != tt.want || (err != nil) != tt.fail {
			t.Errorf("%s: %q, %v; want %q", name, got, err, tt.want)
		}
	}
}

// A storer that asks while the server is still starting must not be told "no JetStream" from then on.
func TestDurabilityOfAServerAskedTooEarly(t *testing.T) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, HTTPHost: "127.0.0.1", HTTPPort: -1, NoLog: true, NoSigs: true, SyncAlways: true})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server did not start")
	}
	url := "http://" + s.MonitorAddr().String()
	if got, err := stream.ReadDurability(t.Context(), url, nil); err == nil || got != stream.UnknownDurability {
		t.Fatalf("without JetStream: %q, %v", got, err)
	}
	if err := s.EnableJetStream(&server.JetStreamConfig{StoreDir: t.TempDir(), MaxStore: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	if got, err := stream.ReadDurability(t.Context(), url, nil); err != nil || got != stream.SyncedSingle {
		t.Errorf("once JetStream runs: %q, %v", got, err)
	}
}

func TestEnvelopeSurvivesItsHeader(t *testing.T) {
	text, err := stream.EncodeEnvelope(streamtest.Envelope([]byte("x"), "user@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	env, raw, err := stream.DecodeEnvelope(text)
	if err != nil || len(raw) == 0 || env.Recipients[0].Mailbox != "user@example.com" {
		t.Errorf("%v comes back, %v", env, err)
	}
	if _, _, err := stream.DecodeEnvelope("not base64!"); err == nil {
		t.Error("nonsense is accepted")
	}
}

func TestShardNames(t *testing.T) {
	for name, want := range map[string]int{"MAIL_0": 0, "MAIL_12": 12, "MAIL_DEAD": -1, "MAIL_01": -1, "MAIL_-1": -1, "KV_x": -1, "MAIL_": -1} {
		n, ok := stream.Shard(name)
		if !ok {
			n = -1
		}
		if n != want {
			t.Errorf("%s is shard %d, want %d", name, n, want)
		}
	}
}
