package publish

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/natsd"
	"github.com/sluice-mail/sluice/pkg/stream"
)

// load publishes small mails until stop and keeps what was accepted.
type load struct {
	mu       sync.Mutex
	accepted map[string]Mail
	refused  map[string]int
	senders  sync.WaitGroup
	stop     atomic.Bool
	n        atomic.Int64
}

func startLoad(t *testing.T, p *Publisher, senders int) *load {
	t.Helper()
	l := &load{accepted: map[string]Mail{}, refused: map[string]int{}}
	for range senders {
		l.senders.Go(func() {
			for !l.stop.Load() {
				m := newMail(t, 2000)
				err := p.Publish(context.Background(), m)
				l.mu.Lock()
				if err == nil {
					l.accepted[mailID(m)] = m
					l.n.Add(1)
				} else {
					l.refused[resultLabel(err)]++
				}
				l.mu.Unlock()
				if err != nil {
					// As a client that was told 451 would, come again a little later.
					<-time.After(10 * time.Millisecond)
				}
			}
		})
	}
	return l
}

// more waits until so many more mails were accepted.
func (l *load) more(t *testing.T, n int64) {
	t.Helper()
	want := l.n.Load() + n
	become(t, 60*time.Second, fmt.Sprintf("%d more mails are accepted", n), func() error {
		if got := l.n.Load(); got < want {
			return fmt.Errorf("%d are missing", want-got)
		}
		return nil
	})
}

func (l *load) end() {
	l.stop.Store(true)
	l.senders.Wait()
}

// verify looks for every accepted mail in the shards: byte for byte there, and there again only as <id>/n.
func (l *load) verify(t *testing.T, js jetstream.JetStream, shards ...int) {
	t.Helper()
	found := map[string][]inLog{}
	for _, number := range shards {
		for id, msgs := range heads(t, js, number) {
			found[id] = append(found[id], msgs...)
		}
	}
	copies := 0
	for id, m := range l.accepted {
		msgs := found[id]
		if len(msgs) == 0 {
			t.Errorf("mail %s was accepted and is not in the log", id)
			continue
		}
		names := map[string]bool{}
		for _, msg := range msgs {
			names[msg.Headers().Get(stream.IDHeader)] = true
			if err := sameMail(m, []inLog{msg}); err != nil {
				t.Errorf("mail %s: %v", id, err)
			}
		}
		if len(names) != len(msgs) {
			t.Errorf("mail %s is %d times in the log under %d ids", id, len(msgs), len(names))
		}
		copies += len(msgs) - 1
	}
	for label := range l.refused {
		if label == "error" || label == "refused" {
			t.Errorf("%d mails ended as %q", l.refused[label], label)
		}
	}
	t.Logf("%d accepted, %d copies, refused: %v", len(l.accepted), copies, l.refused)
}

// startRestartable starts a log with one shard, and writes its port into opts, so that restart is found there.
func startRestartable(t *testing.T, opts *natsd.Options) (*natsd.Server, *nats.Conn) {
	t.Helper()
	s := restart(t, *opts)
	u, _ := url.Parse(s.URL())
	opts.Port, _ = strconv.Atoi(u.Port())
	nc, err := stream.Connect(stream.ConnConfig{URL: s.URL()}, stream.ConnOptions{Name: "test", Logger: discard()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if err := stream.Ensure(t.Context(), nc, oneShard(), stream.SyncedSingle, discard()); err != nil {
		t.Fatal(err)
	}
	return s, nc
}

func restart(t *testing.T, opts natsd.Options) *natsd.Server {
	t.Helper()
	s, err := natsd.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestLogRestartsUnderLoad: the log goes away and comes back; what was accepted is in it.
func TestLogRestartsUnderLoad(t *testing.T) {
	opts := natsd.Options{Dir: t.TempDir(), MaxStore: 4 << 30, Token: "secret"}
	s, nc := startRestartable(t, &opts)
	p := startPublisher(t, nc, Config{})
	waitReady(t, p)
	l := startLoad(t, p, 32)
	for range 3 {
		l.more(t, 300)
		s.Shutdown()
		s = restart(t, opts)
	}
	defer func() { s.Shutdown() }()
	l.more(t, 300)
	l.end()
	js, _ := jetstream.New(nc)
	l.verify(t, js, 0)
}

// TestLogAway: mail is refused as unavailable, never accepted, and accepted again when the log is back.
func TestLogAway(t *testing.T) {
	opts := natsd.Options{Dir: t.TempDir(), MaxStore: 4 << 30}
	s, nc := startRestartable(t, &opts)
	p := startPublisher(t, nc, Config{Deadline: time.Second})
	waitReady(t, p)
	s.Shutdown()
	become(t, time.Minute, "the loss of the connection is noticed", func() error {
		if p.link.downFor() == 0 {
			return errors.New("it is there")
		}
		return nil
	})
	if err := p.Publish(t.Context(), newMail(t, 100)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("told %v, want %v", err, ErrUnavailable)
	}
	become(t, 2*grace, "mail is refused early", func() error {
		if err := p.Ready(); !errors.Is(err, ErrUnavailable) {
			return fmt.Errorf("told %v", err)
		}
		return nil
	})
	s = restart(t, opts)
	defer s.Shutdown()
	waitReady(t, p)
	if err := p.Publish(t.Context(), newMail(t, 100)); err != nil {
		t.Errorf("with the log back: %v", err)
	}
}

// TestFullLog: nothing is discarded, mail is refused early, and a purge by hand is enough.
func TestFullLog(t *testing.T) {
	log := startLog(t, stream.Shape{Shards: 1, Replicas: 1, MaxBytes: 4 << 20})
	p := startPublisher(t, log.nc, Config{})
	waitReady(t, p)
	accepted := 0
	var err error
	for range 100 {
		if err = p.Publish(t.Context(), newMail(t, 100_000)); err != nil {
			break
		}
		accepted++
	}
	if !errors.Is(err, ErrFull) {
		t.Fatalf("after %d mails told %v, want %v", accepted, err, ErrFull)
	}
	if err := p.Ready(); !errors.Is(err, ErrFull) {
		t.Errorf("Ready says %v, want %v", err, ErrFull)
	}
	if got := len(heads(t, log.js, 0)); got != accepted {
		t.Errorf("%d mails in the log, %d accepted", got, accepted)
	}
	st, err := log.js.Stream(t.Context(), stream.StreamName(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitReady(t, p)
	if err := p.Publish(t.Context(), newMail(t, 100_000)); err != nil {
		t.Errorf("after the purge: %v", err)
	}
}

// TestOneShardOfFourMissing: the others take its mail, when it is the one that gets all of it just now.
func TestOneShardOfFourMissing(t *testing.T) {
	log := startLog(t, stream.Shape{Shards: 4, Replicas: 1, MaxBytes: 64 << 20})
	p := startPublisher(t, log.nc, Config{})
	become(t, time.Minute, "four shards are known", func() error {
		if got := len(p.known()); got != 4 {
			return fmt.Errorf("%d are", got)
		}
		return p.Ready()
	})
	l := startLoad(t, p, 32)
	l.more(t, 500)
	p.mu.Lock()
	number := p.sticky.shard.number
	p.mu.Unlock()
	gone := heads(t, log.js, number)
	if err := log.js.DeleteStream(t.Context(), stream.StreamName(number)); err != nil {
		t.Fatal(err)
	}
	l.more(t, 1000)
	l.end()
	if len(gone) == 0 {
		t.Errorf("shard %d got no mail while it was there", number)
	}
	if len(l.refused) > 0 {
		t.Errorf("refused: %v", l.refused)
	}
	found := 0
	for other := range 4 {
		if other != number {
			found += len(heads(t, log.js, other))
		}
	}
	if found < 1000 {
		t.Errorf("%d mails in the three shards", found)
	}
}

// TestSilentShard: what a shard did not answer stays with it, what it has not seen goes elsewhere. When its stream
// is no more, there is nothing to stay for, and what may have been in it goes elsewhere as a copy.
func TestSilentShard(t *testing.T) {
	for _, missing := range []bool{false, true} {
		t.Run(fmt.Sprintf("missing=%v", missing), func(t *testing.T) { silentShard(t, missing) })
	}
}

func silentShard(t *testing.T, missing bool) {
	p := startSilentLog(t)
	silent, other := testShard(p, 0), testShard(p, 1)
	p.shards = []*shard{silent, other}
	silent.driver.c.inFlight = 1
	items := make([]*item, 3)
	for i := range items {
		m := newMail(t, 100)
		var err error
		if items[i], err = newItem(mailID(m), m, time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		items[i].home.Store(silent.driver)
		silent.driver.tell(func(c *committer, now time.Time) {
			c.link(now, true)
			c.add(now, items[i])
		})
	}
	if got := silent.driver.unsent; len(got) != 1 || got[0].pack != items[0].pack {
		t.Fatalf("%d packs are sent, want the one with the first mail", len(got))
	}
	silent.driver.tell(func(c *committer, now time.Time) { c.sent(now, silent.driver.unsent[0], nil) })
	if missing {
		silent.gone()
	}
	silent.driver.tell(func(c *committer, now time.Time) { c.tick(now.Add(answerWait)) })
	if got := other.driver.c.queue; len(got) != 2 || got[0] != items[1] || got[1] != items[2] {
		t.Errorf("%d mails went to the other shard, want the two that were not sent", len(got))
	}
	packs, home := other.driver.c.packs, other.driver
	if !missing {
		packs, home = silent.driver.c.packs, silent.driver
	}
	if len(packs) != 1 || packs[0] != items[0].pack || items[0].home.Load() != home || items[1].home.Load() != other.driver {
		t.Fatalf("the mail that was sent is not where it should be")
	}
	if want := map[bool]int{false: 1, true: 2}[missing]; packs[0].copy != want {
		t.Errorf("it will be sent as copy %d, want %d", packs[0].copy, want)
	}
	if err := items[0].leave(errors.New("enough")); !errors.Is(err, ErrUnconfirmed) {
		t.Errorf("the mail that was sent ends with %v, want %v", err, ErrUnconfirmed)
	}
	if err := items[1].leave(errors.New("enough")); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a mail that was never sent ends with %v, want %v", err, ErrUnavailable)
	}
}

// TestUnsyncedLogIsRefused unless the operator accepts it.
func TestUnsyncedLogIsRefused(t *testing.T) {
	for _, durability := range []stream.Durability{stream.UnsyncedSingle, stream.UnknownDurability, ""} {
		s, err := natsd.Start(natsd.Options{Dir: t.TempDir(), MaxStore: 1 << 30, NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Shutdown()
		nc, err := s.Connect()
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		shape := stream.Shape{Shards: 1, Replicas: 1, MaxBytes: 64 << 20}
		if err := stream.Ensure(t.Context(), nc, shape, durability, discard()); err != nil {
			t.Fatal(err)
		}
		p := startPublisher(t, nc, Config{})
		become(t, time.Minute, "the log is known to be unsynced", func() error {
			if err := p.Ready(); !errors.Is(err, ErrUnsynced) {
				return fmt.Errorf("Ready says %v", err)
			}
			return nil
		})
		if err := p.Publish(t.Context(), newMail(t, 10)); !errors.Is(err, ErrUnsynced) {
			t.Errorf("%q: publishing told %v, want %v", durability, err, ErrUnsynced)
		}
		allowed := startPublisher(t, nc, Config{AllowUnsynced: true})
		waitReady(t, allowed)
		if err := allowed.Publish(t.Context(), newMail(t, 10)); err != nil {
			t.Errorf("%q, accepted by the operator: %v", durability, err)
		}
	}
}

func TestClockThatIsOffRefusesMail(t *testing.T) {
	now := time.Now()
	info := &jetstream.StreamInfo{Config: jetstream.StreamConfig{Metadata: map[string]string{stream.DurabilityKey: string(stream.SyncedSingle)}}}
	for _, tt := range []struct {
		ahead time.Duration
		want  error
	}{{0, nil}, {59 * time.Second, nil}, {-59 * time.Second, nil}, {62 * time.Second, ErrClock}, {-62 * time.Second, ErrClock}} {
		s := testShard(startSilentLog(t), 0)
		info.TimeStamp = now.Add(tt.ahead)
		s.learn(info, now.Add(-time.Millisecond), now.Add(time.Millisecond))
		if err, _ := s.state(); !errors.Is(err, tt.want) {
			t.Errorf("the log is %v ahead: %v, want %v", tt.ahead, err, tt.want)
		}
	}
}

// TestTooMuchAtOnce: what waits for the log is bounded.
func TestTooMuchAtOnce(t *testing.T) {
	p := startSilentLog(t)
	s := testShard(p, 0)
	p.shards = []*shard{s}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { s.driver.run(ctx) })
	defer running.Wait()
	defer cancel()
	p.cfg.MaxInflightBytes, p.cfg.Deadline = 1000, 3*time.Second
	first := make(chan error, 1)
	go func() { first <- p.Publish(t.Context(), newMail(t, 950)) }()
	become(t, time.Minute, "the first mail waits", func() error {
		if p.inflight.Load() == 0 {
			return errors.New("it does not")
		}
		return nil
	})
	if err := p.Ready(); !errors.Is(err, ErrBusy) {
		t.Errorf("Ready says %v, want %v", err, ErrBusy)
	}
	if err := p.Publish(t.Context(), newMail(t, 100)); !errors.Is(err, ErrBusy) {
		t.Errorf("the second mail was told %v, want %v", err, ErrBusy)
	}
	if err := <-first; err == nil {
		t.Error("the first mail was accepted by a silent log")
	}
	if got := p.inflight.Load(); got != 0 {
		t.Errorf("%d bytes are still counted", got)
	}
}
