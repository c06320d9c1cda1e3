package retain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/record"
)

func (f *logFixture) newJanitor(keep time.Duration, before func(context.Context, string, uint64, uint64) error) *Janitor {
	f.t.Helper()
	j, err := NewJanitor(f.connect(), JanitorConfig{Shape: stream.Shape{Keep: keep}, BeforePurge: before}, f.logger(), prometheus.NewRegistry())
	if err != nil {
		f.t.Fatal(err)
	}
	j.slow, j.fast = 50*time.Millisecond, 10*time.Millisecond
	return j
}

// once lets a janitor that holds the lease look at everything once.
func (f *logFixture) once(j *Janitor) {
	f.t.Helper()
	j.lease.set(1, time.Now().Add(time.Minute))
	if _, err := j.round(f.ctx()); err != nil {
		f.t.Fatal(err)
	}
}

// store settles everything in the log.
func (f *logFixture) store() {
	f.t.Helper()
	_, stop := f.worker(WorkerConfig{}, newRecorder(nil))
	eventually(f.t, "everything stored", f.settled)
	stop()
}

func TestNothingUnstoredIsPurged(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	for i := range 50 {
		f.mail(0, fmt.Sprintf("mail %d\r\n", i))
	}
	_, seq := f.large(0, fixtureBytes(5*fixturePart, 1), fixturePart, nil)
	j := f.newJanitor(0, nil) // keep nothing that is stored
	f.once(j)
	if st := f.state("MAIL_0"); st.FirstSeq != 1 || st.Msgs != seq {
		t.Fatalf("%d of %d messages are left although nothing is stored", st.Msgs, seq)
	}
	f.store()
	f.once(j)
	if st := f.state("MAIL_0"); st.Msgs != 0 {
		t.Errorf("%d messages are left although all are stored and nothing is to be kept", st.Msgs)
	}
}

func TestMissingStorerMeansNothingIsStored(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	f.mail(0, "x\r\n")
	f.store()
	if err := f.js.DeleteConsumer(f.ctx(), "MAIL_0", stream.Storer); err != nil {
		t.Fatal(err)
	}
	f.once(f.newJanitor(0, nil))
	if st := f.state("MAIL_0"); st.Msgs != 1 {
		t.Error("purged without a storer")
	}
}

// The mails before a large one are stored, the large one is in the storer's hands: its parts stay.
func TestPartsOfAnUnstoredMailStay(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	for range 5 {
		f.mail(0, "small\r\n")
	}
	raw := fixtureBytes(6*fixturePart, 1)
	env, seq := f.large(0, raw, fixturePart, nil)
	release := make(chan struct{})
	rec := newRecorder(func(m *stream.Message) Verdict {
		if m.Envelope.GetParts() > 0 {
			<-release
		}
		return Done()
	})
	_, stop := f.worker(WorkerConfig{BatchMessages: 1}, rec)
	eventually(t, "the small mails stored", func() bool {
		i := f.info(0, stream.Storer)
		return i.AckFloor.Stream >= 5 && i.NumAckPending == 1 && i.NumPending == 0
	})
	j := f.newJanitor(0, nil)
	f.once(j)
	if st := f.state("MAIL_0"); st.FirstSeq != seq-uint64(env.Parts) || st.Msgs != uint64(env.Parts)+1 {
		t.Fatalf("first sequence %d, %d messages; the large mail has %d to %d", st.FirstSeq, st.Msgs, seq-uint64(env.Parts), seq)
	}
	close(release)
	eventually(t, "the large mail stored", f.settled)
	got, err := readAll(t, rec.seen(mustID(env))[0])
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "the large mail", got, raw)
	stop()
	f.once(j)
	if st := f.state("MAIL_0"); st.Msgs != 0 {
		t.Errorf("%d messages are left", st.Msgs)
	}
}

// A stored large mail that does not have to go stays whole: a replay needs its parts.
func TestStoredLargeMailIsNotCutInHalf(t *testing.T) {
	f := newLogFixture(t, 10<<20)
	for range 9 { // about 9 MiB: over 80 % of the room
		f.large(0, fixtureBytes(1<<20, 1), fixturePart, nil)
	}
	f.store()
	f.once(f.newJanitor(time.Hour, nil))
	st := f.state("MAIL_0")
	if st.Bytes > uint64(10<<20)*8/10 || st.Bytes < 10<<20*6/10 {
		t.Errorf("%d bytes are left of %d", st.Bytes, 10<<20)
	}
	first, err := (record.Source{f.nc}).next(t.Context(), "MAIL_0", stream.HeadSubject(0), st.FirstSeq)
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.Decode(first, record.Source{f.nc})
	if err != nil {
		t.Fatal(err)
	}
	if st.FirstSeq != m.partSequence(0) {
		t.Errorf("the log starts at %d, its first mail at %d", st.FirstSeq, m.partSequence(0))
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
	f := newLogFixture(t, 64<<20)
	f.mail(0, "x\r\n")
	f.store()
	j := f.newJanitor(0, nil)
	j.js = unanswered{j.js}
	j.lease.set(1, time.Now().Add(time.Minute))
	if _, err := j.round(f.ctx()); !errors.Is(err, jetstream.ErrNoStreamResponse) {
		t.Errorf("told %v, want %v", err, jetstream.ErrNoStreamResponse)
	}
}

func TestStoredMailIsKeptWhileThereIsRoom(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	for i := range 50 {
		f.mail(0, fmt.Sprintf("mail %d\r\n", i))
	}
	f.store()
	f.once(f.newJanitor(time.Hour, nil))
	if st := f.state("MAIL_0"); st.Msgs != 50 {
		t.Errorf("%d of 50 are left within STREAM_KEEP", st.Msgs)
	}
}

func TestPurgeIsAuditedFirstAndStopsWhenTheAuditFails(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	for range 40 {
		f.mail(0, strings.Repeat("x", 50_000))
	}
	f.store()
	var ranges [][2]uint64
	broken := errors.New("the database is away")
	j := f.newJanitor(0, func(_ context.Context, stream string, from, to uint64) error {
		if st := f.state(stream); st.FirstSeq != from {
			t.Errorf("audited from %d, the log starts at %d", from, st.FirstSeq)
		}
		ranges = append(ranges, [2]uint64{from, to})
		if len(ranges) == 3 {
			return broken
		}
		return nil
	})
	j.step = 512 << 10
	j.lease.set(1, time.Now().Add(time.Minute))
	if _, err := j.round(f.ctx()); !errors.Is(err, broken) {
		t.Fatalf("error %v", err)
	}
	if st := f.state("MAIL_0"); st.FirstSeq != ranges[1][1]+1 || st.FirstSeq != ranges[2][0] {
		t.Errorf("the log starts at %d; audited %v", st.FirstSeq, ranges)
	}
	f.once(j)
	last := ranges[len(ranges)-1]
	if st := f.state("MAIL_0"); st.Msgs != 0 || last[1] != 40 {
		t.Errorf("%d messages are left; audited %v", st.Msgs, ranges)
	}
	for i, r := range ranges[:len(ranges)-1] {
		if size := r[1] - r[0] + 1; size > 512<<10/50_000 {
			t.Errorf("step %d purges %d mails", i, size)
		}
	}
}

func TestStorerStoppedTheLogFillsAndKeepsEverything(t *testing.T) {
	f := newLogFixture(t, 4<<20)
	j := f.newJanitor(time.Millisecond, nil)
	f.start(j.Run)
	body := strings.Repeat("x", 100_000)
	sent := 0
	for {
		msg := f.headMsg(0, fixtureEnvelope([]byte(body)), []byte(body))
		if _, err := f.js.PublishMsg(f.ctx(), msg); err != nil {
			if !strings.Contains(err.Error(), "maximum bytes") {
				t.Fatal(err)
			}
			break
		}
		sent++
	}
	j.poke()
	eventually(t, "the janitor to hold the lease", func() bool { return j.lease.held(time.Now()) })
	if st := f.state("MAIL_0"); st.Msgs != uint64(sent) {
		t.Fatalf("%d of %d unstored mails are left", st.Msgs, sent)
	}
	rec := newRecorder(nil)
	f.worker(WorkerConfig{}, rec)
	eventually(t, "room", func() bool { return rec.total() == sent && f.state("MAIL_0").Msgs == 0 })
	f.mail(0, body)
}

// How fast a log may fill depends on the machine, so the sender gives the janitor one look per tenth of the
// room; that it looks in time is TestJanitorLooksBeforeTheLogCanBeFull.
func TestFiveTimesTheRoomIsNeverFullWhileTheStorerIsUp(t *testing.T) {
	const room = 8 << 20
	f := newLogFixture(t, room)
	f.worker(WorkerConfig{}, newRecorder(nil))
	j := f.newJanitor(72*time.Hour, nil)
	f.start(j.Run)
	body := strings.Repeat("x", 64<<10)
	for sent := 0; sent < 5*room; sent += room / 10 {
		for chunk := 0; chunk < room/10; chunk += len(body) {
			f.mail(0, body) // fails the test when the log is full
		}
		eventually(t, "room for the next tenth", func() bool { return f.state("MAIL_0").Bytes <= room*85/100 })
	}
	eventually(t, "the storer", f.settled)
	if st := f.state("MAIL_0"); st.Bytes < room*6/10 {
		t.Errorf("only %d bytes are kept although there is room for %d", st.Bytes, room)
	}
}

func TestJanitorLooksBeforeTheLogCanBeFull(t *testing.T) {
	j := &Janitor{slow: 5 * time.Second, fast: 20 * time.Millisecond}
	for _, room := range []int64{64 << 20, 1 << 30, 10 << 30, 1 << 40} {
		for _, fill := range []float64{0, 0.5, 0.8, 0.99} {
			info := &jetstream.StreamInfo{Config: jetstream.StreamConfig{MaxBytes: room}}
			info.State.Bytes = uint64(float64(room) * fill)
			wait := j.until(&shardState{info: info})
			left := float64(room) * (1 - fill)
			if wait > j.fast && wait.Seconds()*fillRate > left*1.01 || wait > j.slow {
				t.Errorf("%d bytes, %.0f %% full: looks again after %s", room, fill*100, wait)
			}
		}
	}
}

func TestOneJanitorAtATime(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	a, b := f.newJanitor(0, nil), f.newJanitor(0, nil)
	both := false
	for _, j := range []*Janitor{a, b} {
		j.lease.every = 20 * time.Millisecond
	}
	stopA := f.start(a.Run)
	eventually(t, "the first to hold the lease", func() bool { return a.lease.held(time.Now()) })
	f.start(b.Run)
	for range 200 {
		if a.lease.held(time.Now()) && b.lease.held(time.Now()) {
			both = true
		}
		f.state("MAIL_0") // some time passes
	}
	if both {
		t.Error("both held the lease")
	}
	stopA()
	eventually(t, "the second to take over", func() bool { return b.lease.held(time.Now()) })
	f.mail(0, "x\r\n")
	f.store()
	eventually(t, "its purge", func() bool { return f.state("MAIL_0").Msgs == 0 })
}

func TestLeaseOfADeadJanitorExpires(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	if err := f.js.DeleteKeyValue(f.ctx(), stream.LeaseBucket); err != nil {
		t.Fatal(err)
	}
	if _, err := f.js.CreateKeyValue(f.ctx(), jetstream.KeyValueConfig{Bucket: stream.LeaseBucket, TTL: time.Second}); err != nil {
		t.Fatal(err)
	}
	dead := newLease(f.js, stream.JanitorLease, f.logger())
	if err := dead.renew(f.ctx()); err != nil || !dead.held(time.Now()) {
		t.Fatalf("taking the lease: %v", err)
	}
	b := f.newJanitor(0, nil)
	b.lease.every = 20 * time.Millisecond
	f.start(b.Run)
	eventually(t, "the lease to expire", func() bool { return b.lease.held(time.Now()) })
}

func TestReplayHoldsTheFloorUntilTheLogIsNearlyFull(t *testing.T) {
	const room = 4 << 20
	f := newLogFixture(t, room)
	body := strings.Repeat("x", 100_000)
	for range 10 {
		f.mail(0, body)
	}
	f.store()
	wait := make(chan struct{})
	defer close(wait)
	blocked := make(chan struct{}, 100)
	failed := make(chan error, 1)
	go func() {
		_, err := Replay{Name: "slow", Workers: 1, BatchMessages: 1}.Run(f.ctx(), f.nc, HandlerFunc(func(ctx context.Context, b []*stream.Message) []Verdict {
			blocked <- struct{}{}
			select {
			case <-wait:
			case <-ctx.Done():
			}
			return []Verdict{Done()}
		}), f.logger(), prometheus.NewRegistry())
		failed <- err
	}()
	<-blocked
	j := f.newJanitor(0, nil)
	f.once(j)
	if st := f.state("MAIL_0"); st.FirstSeq != 1 {
		t.Fatalf("purged up to %d under a running replay", st.FirstSeq)
	}
	for f.state("MAIL_0").Bytes < room*91/100 {
		f.mail(0, body)
	}
	f.store()
	f.once(j)
	if st := f.state("MAIL_0"); st.Msgs != 0 {
		t.Errorf("%d messages are left in a full log", st.Msgs)
	}
	if err := <-failed; !errors.Is(err, ErrReplayOvertaken) || !containsText(err, "STREAM_MAX_BYTES") {
		t.Errorf("the replay ended with: %v", err)
	}
}
