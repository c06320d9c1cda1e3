package publish

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/natsd"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/streamtest"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// log is a running log with its streams, and how it was made.
type logServer struct {
	*natsd.Server
	nc *nats.Conn
	js jetstream.JetStream
}

func startLog(t *testing.T, shape stream.Shape) *logServer {
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
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return &logServer{s, nc, js}
}

func oneShard() stream.Shape { return stream.Shape{Shards: 1, Replicas: 1, MaxBytes: 512 << 20} }

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// startPublisher runs a publisher until the test ends.
func startPublisher(t *testing.T, nc *nats.Conn, cfg Config) *Publisher {
	t.Helper()
	p := New(nc, cfg, slog.New(slog.NewTextHandler(t.Output(), nil)), prometheus.NewRegistry())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the publisher's Run: %v", err)
		}
	})
	return p
}

func waitReady(t *testing.T, p *Publisher) {
	t.Helper()
	become(t, time.Minute, "the publisher is ready", func() error { return p.Ready() })
}

// become polls a condition with a deadline.
func become(t *testing.T, wait time.Duration, what string, ok func() error) {
	t.Helper()
	streamtest.Become(t, wait, what, ok)
}

func newMail(t testing.TB, size int) Mail {
	t.Helper()
	raw := make([]byte, size)
	_, _ = rand.Read(raw)
	id := ulid.Make()
	sum := sha256.Sum256(raw)
	return Mail{Raw: raw, Envelope: &mailv1.Envelope{
		Id: id[:], Size: uint64(size), Sha256: sum[:], ReceivedAt: time.Now().UnixMilli(),
		Recipients: []*mailv1.Recipient{{Mailbox: "user@example.com"}},
	}}
}

func mailID(m Mail) string { return ulid.ULID(m.Envelope.Id).String() }

// inLog is a mail as it is in the log, and the message it is in.
type inLog struct {
	jetstream.Msg
	mail     *stream.Message
	sequence uint64
}

// heads reads every head of a shard. Where it ends is the leader's word: a consumer's count of what is pending may
// come from a replica that is catching up. The last message of a shard is always a head.
func heads(t *testing.T, js jetstream.JetStream, number int) map[string][]inLog {
	t.Helper()
	found := map[string][]inLog{}
	var c jetstream.Consumer
	var end jetstream.StreamState
	become(t, 60*time.Second, "the log can be read", func() error {
		st, err := js.Stream(t.Context(), stream.StreamName(number))
		if err != nil {
			return err
		}
		end = st.CachedInfo().State
		c, err = st.OrderedConsumer(t.Context(), jetstream.OrderedConsumerConfig{FilterSubjects: []string{stream.HeadSubject(number)}})
		return err
	})
	for at := uint64(0); end.Msgs > 0 && at < end.LastSeq; {
		var msg jetstream.Msg
		become(t, 60*time.Second, fmt.Sprintf("the log is read from %d to %d", at, end.LastSeq), func() (err error) {
			msg, err = c.Next(jetstream.FetchMaxWait(5 * time.Second)) // a consumer may move to another server
			return err
		})
		meta, err := msg.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		at = meta.Sequence.Stream
		mails, err := stream.Unpack(msg.Headers(), msg.Data())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range mails {
			found[m.ID.String()] = append(found[m.ID.String()], inLog{msg, m, at})
		}
	}
	return found
}

// Test250MeansStored: what Publish accepted is in the log, byte for byte, once, after it was stopped and started.
func Test250MeansStored(t *testing.T) {
	dir := t.TempDir()
	s, err := natsd.Start(natsd.Options{Dir: dir, MaxStore: 4 << 30})
	if err != nil {
		t.Fatal(err)
	}
	nc, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Ensure(t.Context(), nc, oneShard(), stream.SyncedSingle, discard()); err != nil {
		t.Fatal(err)
	}
	p := startPublisher(t, nc, Config{})
	waitReady(t, p)
	var mu sync.Mutex
	accepted := map[string]Mail{}
	var senders sync.WaitGroup
	for range 64 {
		senders.Go(func() {
			for i := range 10 {
				m := newMail(t, 100+i*3000)
				if err := p.Publish(t.Context(), m); err != nil {
					t.Errorf("publishing: %v", err)
					return
				}
				mu.Lock()
				accepted[mailID(m)] = m
				mu.Unlock()
			}
		})
	}
	senders.Wait()
	nc.Close()
	s.Shutdown()

	s, err = natsd.Start(natsd.Options{Dir: dir, MaxStore: 4 << 30})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	nc, err = s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, _ := jetstream.New(nc)
	found := heads(t, js, 0)
	if len(found) != len(accepted) || len(accepted) != 640 {
		t.Errorf("%d mails accepted, %d in the log, want 640", len(accepted), len(found))
	}
	for id, m := range accepted {
		if err := sameMail(m, found[id]); err != nil {
			t.Errorf("mail %s: %v", id, err)
		}
	}
}

func sameMail(m Mail, got []inLog) error {
	if len(got) != 1 {
		return fmt.Errorf("is %d times in the log, want once", len(got))
	}
	if sha256.Sum256(got[0].mail.Raw) != [32]byte(m.Envelope.Sha256) {
		return fmt.Errorf("its bytes differ")
	}
	return nil
}
