package streamtest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/natsd"
	"github.com/sluice-mail/sluice/pkg/stream"
)

// Fixture is a log of its own: an embedded server in a temporary directory with streams, buckets and consumers. Its
// AckWait is short, so that tests about redelivery need not wait a minute.
type Fixture struct {
	Server *natsd.Server
	NC     *nats.Conn
	JS     jetstream.JetStream

	t          testing.TB
	shardBytes int64
}

// AckWait is that of the fixture's consumers.
const AckWait = time.Second

// New starts a log of one shard with that much room; it ends with the test.
func New(t testing.TB, shardBytes int64) *Fixture {
	t.Helper()
	server, err := natsd.Start(natsd.Options{Dir: t.TempDir(), MaxStore: 4 << 30, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	nc, err := server.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	f := On(t, server, nc, shardBytes)
	f.AddShard(0)
	f.DeadStream(64 << 20)
	for _, cfg := range []jetstream.KeyValueConfig{{Bucket: stream.LeaseBucket, TTL: stream.LeaseTTL}, {Bucket: stream.ReplayBucket}, {Bucket: stream.MarksBucket}, {Bucket: stream.TombstoneBucket}} {
		if _, err := f.JS.CreateKeyValue(f.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// On is a fixture on a server and a connection of the test's own; nothing is made in that log.
func On(t testing.TB, server *natsd.Server, nc *nats.Conn, shardBytes int64) *Fixture {
	return &Fixture{Server: server, NC: nc, JS: stream.JetStream(nc), t: t, shardBytes: shardBytes}
}

// Connect makes one more connection, for what stands for another process.
func (f *Fixture) Connect() *nats.Conn {
	f.t.Helper()
	nc, err := f.Server.Connect()
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(nc.Close)
	return nc
}

// Context ends with the test, or after a minute.
func (f *Fixture) Context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	f.t.Cleanup(cancel)
	return ctx
}

// Logger writes to the test's log.
func (f *Fixture) Logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(f.t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// AddShard makes a shard and its consumers, or what is missing of them.
func (f *Fixture) AddShard(p int) {
	f.t.Helper()
	cfg := jetstream.StreamConfig{
		Name: stream.StreamName(p), Subjects: []string{stream.HeadSubject(p), stream.PartSubject(p)}, Discard: jetstream.DiscardNew,
		MaxBytes: f.shardBytes, AllowDirect: true, AllowAtomicPublish: true, Storage: jetstream.FileStorage,
	}
	if _, err := f.JS.CreateOrUpdateStream(f.Context(), cfg); err != nil {
		f.t.Fatal(err)
	}
	for _, name := range []string{stream.Storer, stream.Cachewarmer} {
		c := stream.ConsumerConfig(name, p)
		c.AckWait = AckWait
		if _, err := f.JS.CreateOrUpdateConsumer(f.Context(), stream.StreamName(p), c); err != nil {
			f.t.Fatal(err)
		}
	}
}

// DeadStream makes the stream of the dead letters, or gives it that much room.
func (f *Fixture) DeadStream(maxBytes int64) {
	f.t.Helper()
	if _, err := f.JS.CreateOrUpdateStream(f.Context(), jetstream.StreamConfig{
		Name: stream.DeadStream, Subjects: []string{stream.DeadSubject, stream.DeadPartSubject}, Discard: jetstream.DiscardNew,
		MaxBytes: maxBytes, AllowDirect: true, AllowAtomicPublish: true,
	}); err != nil {
		f.t.Fatal(err)
	}
}

// Run runs fn until the test ends or stop is called; stop returns when fn has.
func (f *Fixture) Run(fn func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- fn(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-ended:
				if err != nil && !errors.Is(err, context.Canceled) {
					f.t.Errorf("ended with: %v", err)
				}
			case <-time.After(20 * time.Second):
				f.t.Error("did not stop")
			}
		})
	}
	f.t.Cleanup(stop)
	return stop
}
