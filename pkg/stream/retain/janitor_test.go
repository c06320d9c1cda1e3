package retain_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/consume"
	"github.com/sluice-mail/sluice/pkg/stream/internal/record"
	"github.com/sluice-mail/sluice/pkg/stream/internal/streamtest"
	"github.com/sluice-mail/sluice/pkg/stream/retain"
)

func newJanitor(t *testing.T, f *streamtest.Fixture, keep time.Duration, before func(context.Context, string, uint64, uint64) error) *retain.Janitor {
	t.Helper()
	cfg := retain.Config{Shape: stream.Shape{Keep: keep}}
	if before != nil {
		cfg.BeforePurge = func(ctx context.Context, stream string, from, to uint64) (uint64, error) {
			return to, before(ctx, stream, from, to)
		}
	}
	return newJanitorOf(t, f, cfg)
}

func newJanitorOf(t *testing.T, f *streamtest.Fixture, cfg retain.Config) *retain.Janitor {
	t.Helper()
	j, err := retain.New(f.Connect(), cfg, f.Logger(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	j.SetPace(50*time.Millisecond, 10*time.Millisecond)
	return j
}

// once lets a janitor that holds the lease look at everything once.
func once(t *testing.T, f *streamtest.Fixture, j *retain.Janitor) {
	t.Helper()
	if err := j.Once(f.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestNothingUnstoredIsPurged(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	for i := range 50 {
		f.Mail(0, fmt.Sprintf("mail %d\r\n", i))
	}
	_, seq := f.Large(0, streamtest.Bytes(5*streamtest.PartBytes, 1))
	j := newJanitor(t, f, 0, nil) // keep nothing that is stored
	once(t, f, j)
	if st := f.State("MAIL_0"); st.FirstSeq != 1 || st.Msgs != seq {
		t.Fatalf("%d of %d messages are left although nothing is stored", st.Msgs, seq)
	}
	f.Store()
	once(t, f, j)
	if st := f.State("MAIL_0"); st.Msgs != 0 {
		t.Errorf("%d messages are left although all are stored and nothing is to be kept", st.Msgs)
	}
}

func TestMissingStorerMeansNothingIsStored(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	f.Mail(0, "x\r\n")
	f.Store()
	if err := f.JS.DeleteConsumer(f.Context(), "MAIL_0", stream.Storer); err != nil {
		t.Fatal(err)
	}
	once(t, f, newJanitor(t, f, 0, nil))
	if st := f.State("MAIL_0"); st.Msgs != 1 {
		t.Error("purged without a storer")
	}
}

// The mails before a large one are stored, the large one is in the storer's hands: its parts stay.
func TestPartsOfAnUnstoredMailStay(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	for range 5 {
		f.Mail(0, "small\r\n")
	}
	raw := streamtest.Bytes(6*streamtest.PartBytes, 1)
	env, seq := f.Large(0, raw)
	release := make(chan struct{})
	rec := streamtest.NewRecorder(func(m *stream.Message) consume.Verdict {
		if m.Envelope.GetParts() > 0 {
			<-release
		}
		return consume.Done()
	})
	_, stop := f.Worker(consume.Config{BatchMails: 1}, rec)
	streamtest.Eventually(t, "the small mails stored", func() bool {
		i := f.Info(0, stream.Storer)
		return i.AckFloor.Stream >= 5 && i.NumAckPending == 1 && i.NumPending == 0
	})
	j := newJanitor(t, f, 0, nil)
	once(t, f, j)
	if st := f.State("MAIL_0"); st.FirstSeq != seq-uint64(env.Parts) || st.Msgs != uint64(env.Parts)+1 {
		t.Fatalf("first sequence %d, %d messages; the large mail has %d to %d", st.FirstSeq, st.Msgs, seq-uint64(env.Parts), seq)
	}
	close(release)
	streamtest.Eventually(t, "the large mail stored", f.Settled)
	got, err := streamtest.ReadAll(t, rec.Seen(streamtest.ID(env))[0])
	if err != nil {
		t.Fatal(err)
	}
	streamtest.Equal(t, "the large mail", got, raw)
	stop()
	once(t, f, j)
	if st := f.State("MAIL_0"); st.Msgs != 0 {
		t.Errorf("%d messages are left", st.Msgs)
	}
}

// A stored large mail that does not have to go stays whole: a replay needs its parts.
func TestStoredLargeMailIsNotCutInHalf(t *testing.T) {
	f := streamtest.New(t, 10<<20)
	for range 9 { // about 9 MiB: over 80 % of the room
		f.Large(0, streamtest.Bytes(1<<20, 1))
	}
	f.Store()
	once(t, f, newJanitor(t, f, time.Hour, nil))
	st := f.State("MAIL_0")
	if st.Bytes > uint64(10<<20)*8/10 || st.Bytes < 10<<20*6/10 {
		t.Errorf("%d bytes are left of %d", st.Bytes, 10<<20)
	}
	log := record.Source{NC: f.NC}
	first, err := log.Next(t.Context(), "MAIL_0", stream.HeadSubject(0), st.FirstSeq)
	if err != nil {
		t.Fatal(err)
	}
	mails, err := stream.Decode(first, log)
	if err != nil {
		t.Fatal(err)
	}
	m := mails[0]
	if starts := m.Sequence - uint64(m.Envelope.GetParts()); st.FirstSeq != starts {
		t.Errorf("the log starts at %d, its first mail at %d", st.FirstSeq, starts)
	}
}

// unanswered is a log that goes away right after a purge: it does not say any more what it holds.
type unanswered struct{ jetstream.JetStream }

func (u unanswered) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	s, err := u.JetStream.Stream(ctx, name)
	return unansweredStream{s}, err
}

type unansweredStream struct{ jetstream.Stream }

func (unansweredStream) Info(context.Context, ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	return nil, jetstream.ErrNoStreamResponse
}

func TestJanitorOutlivesALogThatGoesAway(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	f.Mail(0, "x\r\n")
	f.Store()
	j := newJanitor(t, f, 0, nil)
	j.Wrap(func(js jetstream.JetStream) jetstream.JetStream { return unanswered{js} })
	if err := j.Once(f.Context()); !errors.Is(err, jetstream.ErrNoStreamResponse) {
		t.Errorf("told %v, want %v", err, jetstream.ErrNoStreamResponse)
	}
}

func TestStoredMailIsKeptWhileThereIsRoom(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	for i := range 50 {
		f.Mail(0, fmt.Sprintf("mail %d\r\n", i))
	}
	f.Store()
	once(t, f, newJanitor(t, f, time.Hour, nil))
	if st := f.State("MAIL_0"); st.Msgs != 50 {
		t.Errorf("%d of 50 are left within STREAM_KEEP", st.Msgs)
	}
}

func TestPurgeIsAuditedFirstAndStopsWhenTheAuditFails(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	for range 40 {
		f.Mail(0, strings.Repeat("x", 50_000))
	}
	f.Store()
	var ranges [][2]uint64
	broken := errors.New("the database is away")
	j := newJanitor(t, f, 0, func(_ context.Context, stream string, from, to uint64) error {
		if st := f.State(stream); st.FirstSeq != from {
			t.Errorf("audited from %d, the log starts at %d", from, st.FirstSeq)
		}
		ranges = append(ranges, [2]uint64{from, to})
		if len(ranges) == 3 {
			return broken
		}
		return nil
	})
	j.SetStep(512 << 10)
	if err := j.Once(f.Context()); !errors.Is(err, broken) {
		t.Fatalf("error %v", err)
	}
	if st := f.State("MAIL_0"); st.FirstSeq != ranges[1][1]+1 || st.FirstSeq != ranges[2][0] {
		t.Errorf("the log starts at %d; audited %v", st.FirstSeq, ranges)
	}
	once(t, f, j)
	last := ranges[len(ranges)-1]
	if st := f.State("MAIL_0"); st.Msgs != 0 || last[1] != 40 {
		t.Errorf("%d messages are left; audited %v", st.Msgs, ranges)
	}
	for i, r := range ranges[:len(ranges)-1] {
		if size := r[1] - r[0] + 1; size > 512<<10/50_000 {
			t.Errorf("step %d purges %d mails", i, size)
		}
	}
}

// What the audit has not looked at yet stays, and is asked for next.
func TestOnlyWhatWasAuditedIsPurged(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	for range 10 {
		f.Mail(0, "x")
	}
	f.Store()
	var asked []uint64
	j := newJanitorOf(t, f, retain.Config{BeforePurge: func(_ context.Context, stream string, from, _ uint64) (uint64, error) {
		if st := f.State(stream); st.FirstSeq != from {
			t.Errorf("asked from %d on, the log starts at %d", from, st.FirstSeq)
		}
		if asked = append(asked, from); len(asked) == 3 {
			return 0, errors.New("the database is away")
		}
		return from + 2, nil
	}})
	if err := j.Once(f.Context()); err == nil {
		t.Error("no error")
	}
	if st := f.State("MAIL_0"); !slices.Equal(asked, []uint64{1, 4, 7}) || st.FirstSeq != 7 {
		t.Errorf("asked from %v on, the log starts at %d", asked, st.FirstSeq)
	}
}

func TestStorerStoppedTheLogFillsAndKeepsEverything(t *testing.T) {
	f := streamtest.New(t, 4<<20)
	j := newJanitor(t, f, time.Millisecond, nil)
	f.Run(j.Run)
	body := strings.Repeat("x", 100_000)
	sent := 0
	for {
		msg := f.Head(0, streamtest.Envelope([]byte(body)), []byte(body))
		if _, err := f.JS.PublishMsg(f.Context(), msg); err != nil {
			if !strings.Contains(err.Error(), "maximum bytes") {
				t.Fatal(err)
			}
			break
		}
		sent++
	}
	j.Poke()
	streamtest.Eventually(t, "the janitor to hold the lease", func() bool { return j.Leads() })
	if st := f.State("MAIL_0"); st.Msgs != uint64(sent) {
		t.Fatalf("%d of %d unstored mails are left", st.Msgs, sent)
	}
	rec := streamtest.NewRecorder(nil)
	f.Worker(consume.Config{}, rec)
	streamtest.Eventually(t, "room", func() bool { return rec.Total() == sent && f.State("MAIL_0").Msgs == 0 })
	f.Mail(0, body)
}

// How fast a log may fill depends on the machine, so the sender gives the janitor one look per tenth of the
// room; that it looks in time is TestJanitorLooksBeforeTheLogCanBeFull.
func TestFiveTimesTheRoomIsNeverFullWhileTheStorerIsUp(t *testing.T) {
	const room = 8 << 20
	f := streamtest.New(t, room)
	f.Worker(consume.Config{}, streamtest.NewRecorder(nil))
	j := newJanitor(t, f, 72*time.Hour, nil)
	f.Run(j.Run)
	body := strings.Repeat("x", 64<<10)
	for sent := 0; sent < 5*room; sent += room / 10 {
		for chunk := 0; chunk < room/10; chunk += len(body) {
			f.Mail(0, body) // fails the test when the log is full
		}
		streamtest.Eventually(t, "room for the next tenth", func() bool { return f.State("MAIL_0").Bytes <= room*85/100 })
	}
	streamtest.Eventually(t, "the storer", f.Settled)
	if st := f.State("MAIL_0"); st.Bytes < room*6/10 {
		t.Errorf("only %d bytes are kept although there is room for %d", st.Bytes, room)
	}
}

func TestJanitorLooksBeforeTheLogCanBeFull(t *testing.T) {
	const slow, fast = 5 * time.Second, 20 * time.Millisecond
	j := new(retain.Janitor)
	j.SetPace(slow, fast)
	for _, room := range []int64{64 << 20, 1 << 30, 10 << 30, 1 << 40} {
		for _, fill := range []float64{0, 0.5, 0.8, 0.99} {
			info := &jetstream.StreamInfo{Config: jetstream.StreamConfig{MaxBytes: room}}
			info.State.Bytes = uint64(float64(room) * fill)
			wait := j.Until(info)
			left := float64(room) * (1 - fill)
			if wait > fast && wait.Seconds()*retain.FillRate > left*1.01 || wait > slow {
				t.Errorf("%d bytes, %.0f %% full: looks again after %s", room, fill*100, wait)
			}
		}
	}
}

func TestOneJanitorAtATime(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	a, b := newJanitor(t, f, 0, nil), newJanitor(t, f, 0, nil)
	both := false
	for _, j := range []*retain.Janitor{a, b} {
		j.RenewEvery(20 * time.Millisecond)
	}
	stopA := f.Run(a.Run)
	streamtest.Eventually(t, "the first to hold the lease", func() bool { return a.Leads() })
	f.Run(b.Run)
	for range 200 {
		if a.Leads() && b.Leads() {
			both = true
		}
		f.State("MAIL_0") // some time passes
	}
	if both {
		t.Error("both held the lease")
	}
	stopA()
	streamtest.Eventually(t, "the second to take over", func() bool { return b.Leads() })
	f.Mail(0, "x\r\n")
	f.Store()
	streamtest.Eventually(t, "its purge", func() bool { return f.State("MAIL_0").Msgs == 0 })
}

func TestLeaseOfADeadJanitorExpires(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	if err := f.JS.DeleteKeyValue(f.Context(), stream.LeaseBucket); err != nil {
		t.Fatal(err)
	}
	if _, err := f.JS.CreateKeyValue(f.Context(), jetstream.KeyValueConfig{Bucket: stream.LeaseBucket, TTL: time.Second}); err != nil {
		t.Fatal(err)
	}
	dead := newJanitor(t, f, 0, nil)
	if err := dead.TakeLease(f.Context()); err != nil || !dead.Leads() {
		t.Fatalf("taking the lease: %v", err)
	}
	b := newJanitor(t, f, 0, nil)
	b.RenewEvery(20 * time.Millisecond)
	f.Run(b.Run)
	streamtest.Eventually(t, "the lease to expire", func() bool { return b.Leads() })
}

func TestReplayHoldsTheFloorUntilTheLogIsNearlyFull(t *testing.T) {
	const room = 4 << 20
	f := streamtest.New(t, room)
	body := strings.Repeat("x", 100_000)
	for range 10 {
		f.Mail(0, body)
	}
	f.Store()
	wait := make(chan struct{})
	defer close(wait)
	blocked := make(chan struct{}, 100)
	failed := make(chan error, 1)
	go func() {
		_, err := consume.Replay{Pace: streamtest.Pace(), Name: "slow", Workers: 1, BatchMails: 1}.Run(f.Context(), f.NC, consume.HandlerFunc(func(ctx context.Context, b []*stream.Message) []consume.Verdict {
			blocked <- struct{}{}
			select {
			case <-wait:
			case <-ctx.Done():
			}
			return []consume.Verdict{consume.Done()}
		}), f.Logger(), prometheus.NewRegistry())
		failed <- err
	}()
	<-blocked
	j := newJanitor(t, f, 0, nil)
	once(t, f, j)
	if st := f.State("MAIL_0"); st.FirstSeq != 1 {
		t.Fatalf("purged up to %d under a running replay", st.FirstSeq)
	}
	for f.State("MAIL_0").Bytes < room*91/100 {
		f.Mail(0, body)
	}
	f.Store()
	once(t, f, j)
	if st := f.State("MAIL_0"); st.Msgs != 0 {
		t.Errorf("%d messages are left in a full log", st.Msgs)
	}
	if err := <-failed; !errors.Is(err, consume.ErrReplayOvertaken) || !streamtest.Says(err, "STREAM_MAX_BYTES") {
		t.Errorf("the replay ended with: %v", err)
	}
}
