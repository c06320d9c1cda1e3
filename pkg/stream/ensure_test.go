package stream

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/natsd"
)

func TestEnsureMakesWhatTheServicesNeed(t *testing.T) {
	log := startLog(t, Shape{Shards: 2, Replicas: 1, MaxBytes: 64 << 20})
	for number := range 2 {
		st, err := log.js.Stream(t.Context(), StreamName(number))
		if err != nil {
			t.Fatal(err)
		}
		c := st.CachedInfo().Config
		if c.Retention != jetstream.LimitsPolicy || c.Discard != jetstream.DiscardNew || c.MaxAge != 0 || c.MaxMsgs != -1 ||
			!c.AllowAtomicPublish || !c.AllowDirect || !c.DenyDelete || c.DenyPurge || c.Metadata[DurabilityKey] != string(SyncedSingle) {
			t.Errorf("the stream %s is %+v", c.Name, c)
		}
		for _, name := range []string{Storer, Cachewarmer} {
			cons, err := st.Consumer(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			cc := cons.CachedInfo().Config
			if cc.FilterSubject != HeadSubject(number) || cc.MaxDeliver != -1 || cc.MaxAckPending != maxAckPending || cc.AckWait != ackWait || cc.DeliverPolicy != jetstream.DeliverAllPolicy {
				t.Errorf("the consumer %s is %+v", name, cc)
			}
		}
	}
	for _, bucket := range []string{PolicyBucket, LeaseBucket, ReplayBucket, AuditBucket} {
		if _, err := log.js.KeyValue(t.Context(), bucket); err != nil {
			t.Errorf("the bucket %s: %v", bucket, err)
		}
	}
	if _, err := log.js.Stream(t.Context(), DeadStream); err != nil {
		t.Errorf("the stream %s: %v", DeadStream, err)
	}
}

// TestEnsureGrowsAndNeverShrinks: again changes nothing, more grows, less is ignored, and no mail is lost in any.
func TestEnsureGrowsAndNeverShrinks(t *testing.T) {
	log := startLog(t, Shape{Shards: 2, Replicas: 1, MaxBytes: 64 << 20})
	p := startPublisher(t, log.nc, PublisherConfig{})
	waitReady(t, p)
	if err := p.Publish(t.Context(), newMail(t, 1000)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		shape  Shape
		shards int
		bytes  int64
	}{
		{Shape{Shards: 2, Replicas: 1, MaxBytes: 64 << 20}, 2, 64 << 20},
		{Shape{Shards: 3, Replicas: 1, MaxBytes: 128 << 20}, 3, 128 << 20},
		{Shape{Shards: 1, Replicas: 1, MaxBytes: 32 << 20}, 3, 128 << 20},
	} {
		if err := Ensure(t.Context(), log.nc, tt.shape, SyncedSingle, discard()); err != nil {
			t.Fatalf("%+v: %v", tt.shape, err)
		}
		for number := range tt.shards {
			st, err := log.js.Stream(t.Context(), StreamName(number))
			if err != nil {
				t.Fatalf("%+v: %s: %v", tt.shape, StreamName(number), err)
			}
			if got := st.CachedInfo().Config.MaxBytes; got != tt.bytes {
				t.Errorf("%+v: %s has room for %d bytes, want %d", tt.shape, StreamName(number), got, tt.bytes)
			}
		}
	}
	if got := len(heads(t, log.js, 0)) + len(heads(t, log.js, 1)); got != 1 {
		t.Errorf("%d mails in the log, want 1", got)
	}
}

// TestEnsureKeepsTheStorersPlace: an existing consumer keeps its position.
func TestEnsureKeepsTheStorersPlace(t *testing.T) {
	log := startLog(t, oneShard())
	p := startPublisher(t, log.nc, PublisherConfig{})
	waitReady(t, p)
	if err := p.Publish(t.Context(), newMail(t, 1000)); err != nil {
		t.Fatal(err)
	}
	c, err := log.js.Consumer(t.Context(), StreamName(0), Storer)
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
	if err := Ensure(t.Context(), log.nc, oneShard(), SyncedSingle, discard()); err != nil {
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
	log := startLog(t, oneShard())
	p := startPublisher(t, log.nc, PublisherConfig{})
	waitReady(t, p)
	if err := Ensure(t.Context(), log.nc, oneShard(), UnsyncedSingle, discard()); err != nil {
		t.Fatal(err)
	}
	become(t, 20*time.Second, "the publisher refuses the log", func() error {
		if p.Ready() == nil {
			return ErrUnsynced
		}
		return nil
	})
}

func TestForeignStreamIsRefused(t *testing.T) {
	for name, foreign := range map[string]jetstream.StreamConfig{
		"work queue": {Name: StreamName(0), Subjects: []string{HeadSubject(0)}, Retention: jetstream.WorkQueuePolicy},
		"in memory":  {Name: StreamName(0), Subjects: []string{HeadSubject(0)}, Storage: jetstream.MemoryStorage},
		"async":      {Name: StreamName(0), Subjects: []string{HeadSubject(0)}, PersistMode: jetstream.AsyncPersistMode},
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
			err = Ensure(t.Context(), nc, Shape{Shards: 1, Replicas: 1, MaxBytes: 64 << 20}, SyncedSingle, discard())
			if err == nil || !strings.Contains(err.Error(), StreamName(0)) {
				t.Errorf("told %v", err)
			}
		})
	}
}

func TestShapesThatCannotBe(t *testing.T) {
	for _, s := range []Shape{
		{Shards: 0, Replicas: 1, MaxBytes: 1 << 30},
		{Shards: 1, Replicas: 2, MaxBytes: 1 << 30},
		{Shards: 1, Replicas: 1, MaxBytes: 1},
	} {
		if err := s.check(); err == nil {
			t.Errorf("%+v is accepted", s)
		}
	}
}

func TestOldServerIsRefused(t *testing.T) {
	for _, tt := range []struct {
		have string
		old  bool
	}{{"2.15.1", false}, {"2.15.2", false}, {"2.16.0-RC.1", false}, {"3.0.0", false}, {"2.15.0", true}, {"2.9.30", true}, {"1.99.99", true}} {
		if got := older(tt.have, minServer); got != tt.old {
			t.Errorf("%s older than %s: %v", tt.have, minServer, got)
		}
	}
}

func TestReadDurability(t *testing.T) {
	server := func(name string, synced bool, size int) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/varz" {
				_, _ = w.Write([]byte("{}"))
				return
			}
			v := map[string]any{"server_name": name}
			js := map[string]any{"config": map[string]any{"sync_always": synced}}
			if size > 1 {
				js["meta"] = map[string]any{"cluster_size": size}
			}
			v["jetstream"] = js
			_ = json.NewEncoder(w).Encode(v)
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	for name, tt := range map[string]struct {
		urls []string
		want Durability
		fail bool
	}{
		"one":                {[]string{server("a", true, 1)}, SyncedSingle, false},
		"one, unsynced":      {[]string{server("a", false, 1)}, UnsyncedSingle, false},
		"three":              {[]string{server("a", true, 3), server("b", true, 3), server("c", true, 3)}, SyncedQuorum, false},
		"three, one is not":  {[]string{server("a", true, 3), server("b", false, 3), server("c", true, 3)}, UnsyncedQuorum, false},
		"three, two named":   {[]string{server("a", true, 3), server("b", true, 3)}, UnknownDurability, true},
		"the same one twice": {[]string{server("a", true, 2), server("a", true, 2)}, UnknownDurability, true},
		"not set":            {nil, UnknownDurability, true},
		"nobody there":       {[]string{"http://127.0.0.1:1"}, UnknownDurability, true},
		"not a URL":          {[]string{"::"}, UnknownDurability, true},
	} {
		got, err := ReadDurability(t.Context(), strings.Join(tt.urls, ","), nil)
		if got != tt.want || (err != nil) != tt.fail {
			t.Errorf("%s: %q, %v; want %q", name, got, err, tt.want)
		}
	}
}

func TestEnvelopeSurvivesItsHeader(t *testing.T) {
	m := newMail(t, 10)
	text, err := EncodeEnvelope(m.Envelope)
	if err != nil {
		t.Fatal(err)
	}
	env, raw, err := DecodeEnvelope(text)
	if err != nil || len(raw) == 0 || env.Recipients[0].Mailbox != "user@example.com" {
		t.Errorf("%v comes back, %v", env, err)
	}
	if _, _, err := DecodeEnvelope("not base64!"); err == nil {
		t.Error("nonsense is accepted")
	}
}

func TestShardNames(t *testing.T) {
	for name, want := range map[string]int{"MAIL_0": 0, "MAIL_12": 12, "MAIL_DEAD": -1, "MAIL_01": -1, "MAIL_-1": -1, "KV_x": -1, "MAIL_": -1} {
		n, ok := Shard(name)
		if !ok {
			n = -1
		}
		if n != want {
			t.Errorf("%s is shard %d, want %d", name, n, want)
		}
	}
}
