package stream

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/natsd"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// logFixture is a log of its own: an embedded server in a temporary directory with streams, buckets and
// consumers. Its AckWait is short, so that tests about redelivery need not wait a minute.
type logFixture struct {
	t      testing.TB
	server *natsd.Server
	nc     *nats.Conn
	js     jetstream.JetStream
	ackMin time.Duration
	max    int64
}

const fixtureAckWait = time.Second

func newLogFixture(t testing.TB, shardBytes int64) *logFixture {
	t.Helper()
	server, err := natsd.Start(natsd.Options{Dir: t.TempDir(), MaxStore: 4 << 30, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	f := &logFixture{t: t, server: server, ackMin: fixtureAckWait, max: shardBytes}
	f.nc = f.connect()
	if f.js, err = jetstream.New(f.nc); err != nil {
		t.Fatal(err)
	}
	f.addShard(0)
	f.deadStream(64 << 20)
	for _, cfg := range []jetstream.KeyValueConfig{{Bucket: LeaseBucket, TTL: LeaseTTL}, {Bucket: ReplayBucket}} {
		if _, err := f.js.CreateKeyValue(f.ctx(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func (f *logFixture) connect() *nats.Conn {
	f.t.Helper()
	nc, err := f.server.Connect()
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(nc.Close)
	return nc
}

func (f *logFixture) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	f.t.Cleanup(cancel)
	return ctx
}

func (f *logFixture) addShard(p int) {
	f.t.Helper()
	cfg := jetstream.StreamConfig{
		Name: StreamName(p), Subjects: []string{HeadSubject(p), PartSubject(p)}, Discard: jetstream.DiscardNew,
		MaxBytes: f.max, AllowDirect: true, AllowAtomicPublish: true, Storage: jetstream.FileStorage,
	}
	if _, err := f.js.CreateOrUpdateStream(f.ctx(), cfg); err != nil {
		f.t.Fatal(err)
	}
	for _, name := range []string{Storer, Cachewarmer} {
		c := ConsumerConfig(name, p)
		c.AckWait = f.ackMin
		if _, err := f.js.CreateOrUpdateConsumer(f.ctx(), StreamName(p), c); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *logFixture) deadStream(maxBytes int64) {
	f.t.Helper()
	if _, err := f.js.CreateOrUpdateStream(f.ctx(), jetstream.StreamConfig{
		Name: DeadStream, Subjects: []string{DeadSubject, DeadPartSubject}, Discard: jetstream.DiscardNew, MaxBytes: maxBytes,
		AllowDirect: true, AllowAtomicPublish: true,
	}); err != nil {
		f.t.Fatal(err)
	}
}

func fixtureEnvelope(raw []byte, rcpts ...string) *mailv1.Envelope {
	if len(rcpts) == 0 {
		rcpts = []string{"u@example.com"}
	}
	id, sum := ulid.Make(), sha256.Sum256(raw)
	env := &mailv1.Envelope{Id: id[:], ReceivedAt: time.Now().UnixMilli(), MailFrom: "a@b.example", Size: uint64(len(raw)), Sha256: sum[:]}
	for _, r := range rcpts {
		env.Recipients = append(env.Recipients, &mailv1.Recipient{Mailbox: r})
	}
	return env
}

func envelopeText(env *mailv1.Envelope) string {
	id, err := envelopeID(env)
	if err != nil {
		return ""
	}
	return id.String()
}

// headMsg is the stream message of a mail.
func (f *logFixture) headMsg(shard int, env *mailv1.Envelope, raw []byte) *nats.Msg {
	f.t.Helper()
	text, err := EncodeEnvelope(env)
	if err != nil {
		f.t.Fatal(err)
	}
	msg := nats.NewMsg(HeadSubject(shard))
	msg.Header.Set(EnvelopeHeader, text)
	msg.Header.Set(IDHeader, envelopeText(env))
	msg.Data = raw
	return msg
}

func (f *logFixture) send(msg *nats.Msg) uint64 {
	f.t.Helper()
	ack, err := f.js.PublishMsg(f.ctx(), msg)
	if err != nil {
		f.t.Fatalf("publishing: %v", err)
	}
	return ack.Sequence
}

// mail publishes a small mail.
func (f *logFixture) mail(shard int, raw string, rcpts ...string) (id ulid.ULID, seq uint64) {
	f.t.Helper()
	env := fixtureEnvelope([]byte(raw), rcpts...)
	seq = f.send(f.headMsg(shard, env, []byte(raw)))
	id, _ = envelopeID(env)
	return id, seq
}

// large publishes a large mail as the ingress does; spoil may change a part before it is sent.
func (f *logFixture) large(shard int, raw []byte, partBytes int, spoil func(part int, msg *nats.Msg)) (env *mailv1.Envelope, seq uint64) {
	f.t.Helper()
	env = fixtureEnvelope(raw)
	env.Requires = uint64(mailv1.Require_REQUIRE_PARTS)
	b := newBatch(f.nc)
	for rest := raw; len(rest) > 0; env.Parts++ {
		n := min(partBytes, len(rest))
		msg := nats.NewMsg(PartSubject(shard))
		msg.Header.Set(IDHeader, fmt.Sprintf("%s/%d", envelopeText(env), env.Parts))
		msg.Data, rest = rest[:n], rest[n:]
		if spoil != nil {
			spoil(int(env.Parts), msg)
		}
		if a := b.ask(f.ctx(), msg); a.Error != nil || a.lost != nil {
			f.t.Fatalf("publishing a part: %v", a.reason())
		}
	}
	head := f.headMsg(shard, env, nil)
	head.Header.Set(batchCommitHeader, "1")
	a := b.ask(f.ctx(), head)
	if classify(a) != stored {
		f.t.Fatalf("committing a large mail: %v", a.reason())
	}
	return env, a.Sequence
}

func fixtureBytes(n int, seed byte) []byte {
	b := make([]byte, n)
	x := uint32(seed) + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// worker runs a worker over the fixture's log until the test ends or stop is called.
func (f *logFixture) worker(cfg WorkerConfig, h Handler) (w *Worker, stop func()) {
	f.t.Helper()
	if cfg.Consumer == "" {
		cfg.Consumer = Storer
	}
	w, err := NewWorker(f.nc, cfg, h, f.logger(), prometheus.NewRegistry())
	if err != nil {
		f.t.Fatal(err)
	}
	w.engine.pace = fixturePace()
	return w, f.start(w.Run)
}

func fixturePace() pace {
	return pace{first: 5 * time.Millisecond, most: 50 * time.Millisecond, linger: 5 * time.Millisecond, extend: fixtureAckWait / 5, look: 20 * time.Millisecond, rediscover: 50 * time.Millisecond}
}

// start runs fn until the test ends or stop is called; stop returns when fn has.
func (f *logFixture) start(fn func(context.Context) error) (stop func()) {
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

// logger writes to the test's log.
func (f *logFixture) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(f.t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

func (f *logFixture) info(shard int, consumer string) *jetstream.ConsumerInfo {
	f.t.Helper()
	c, err := f.js.Consumer(f.ctx(), StreamName(shard), consumer)
	if err != nil {
		f.t.Fatal(err)
	}
	return c.CachedInfo()
}

func (f *logFixture) state(stream string) jetstream.StreamState {
	f.t.Helper()
	s, err := f.js.Stream(f.ctx(), stream)
	if err != nil {
		f.t.Fatal(err)
	}
	return s.CachedInfo().State
}

// settled says whether the storer owes nothing on shard 0. (Its count of pending mails follows a publish only
// after a moment, so the floor is what counts; the last message of a shard is always a head.)
func (f *logFixture) settled() bool {
	last := f.state(StreamName(0)).LastSeq
	i := f.info(0, Storer)
	return i.AckFloor.Stream >= last && i.NumAckPending == 0
}

// eventually polls until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		case <-tick.C:
		}
	}
}

// recorder is a Handler that remembers what it was given and answers with verdict.
type recorder struct {
	mu      sync.Mutex
	verdict func(m *Message) Verdict
	batches [][]*Message
	done    map[ulid.ULID]int
}

func newRecorder(verdict func(*Message) Verdict) *recorder {
	if verdict == nil {
		verdict = func(*Message) Verdict { return Done() }
	}
	return &recorder{verdict: verdict, done: make(map[ulid.ULID]int)}
}

func (r *recorder) Handle(_ context.Context, batch []*Message) []Verdict {
	r.mu.Lock()
	r.batches = append(r.batches, batch)
	r.mu.Unlock()
	verdicts := make([]Verdict, len(batch))
	for i, m := range batch {
		verdicts[i] = r.verdict(m)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, m := range batch {
		if verdicts[i].kind == done {
			r.done[m.ID]++
		}
	}
	return verdicts
}

func (r *recorder) count(id ulid.ULID) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.done[id]
}

func (r *recorder) total() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.done)
}

// seen returns every message the handler was given with that id.
func (r *recorder) seen(id ulid.ULID) []*Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*Message
	for _, b := range r.batches {
		for _, m := range b {
			if m.ID == id {
				all = append(all, m)
			}
		}
	}
	return all
}

func (f *logFixture) dead() []DeadLetter {
	f.t.Helper()
	var all []DeadLetter
	err := NewDeadLetters(f.nc).List(f.ctx(), func(d DeadLetter) error { all = append(all, d); return nil })
	if err != nil {
		f.t.Fatal(err)
	}
	return all
}

func readAll(t *testing.T, m *Message) ([]byte, error) {
	t.Helper()
	r, err := m.Open(t.Context())
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func mustEqual(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Fatalf("%s: %d bytes differ from the %d that were sent", what, len(got), len(want))
	}
}

func containsText(err error, text string) bool {
	return err != nil && strings.Contains(err.Error(), text)
}

func mustID(env *mailv1.Envelope) ulid.ULID {
	id, err := envelopeID(env)
	if err != nil {
		panic(err)
	}
	return id
}
