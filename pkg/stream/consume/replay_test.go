package consume

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/stream"
)

func (f *logFixture) replay(ctx context.Context, r Replay, h Handler) (ReplaySummary, error) {
	return r.Run(ctx, f.nc, h, f.logger(), prometheus.NewRegistry())
}

// traces are the consumers and registrations that replays have left.
func (f *logFixture) traces(shard int) (left []string) {
	f.t.Helper()
	s, err := f.js.Stream(f.ctx(), stream.StreamName(shard))
	if err != nil {
		f.t.Fatal(err)
	}
	names := s.ConsumerNames(f.ctx())
	for name := range names.Name() {
		if name != stream.Storer && name != stream.Cachewarmer {
			left = append(left, name)
		}
	}
	kv, err := f.js.KeyValue(f.ctx(), stream.ReplayBucket)
	if err != nil {
		f.t.Fatal(err)
	}
	keys, err := kv.Keys(f.ctx())
	if err != nil && !errors.Is(err, jetstream.ErrNoKeysFound) {
		f.t.Fatal(err)
	}
	return append(left, keys...)
}

func (f *logFixture) mails(shard, n int, rcpts ...string) (ids []ulid.ULID, last uint64) {
	for i := range n {
		id, seq := f.mail(shard, fmt.Sprintf("mail %d\r\n", i), rcpts...)
		ids, last = append(ids, id), seq
	}
	return ids, last
}

func TestReplayOfEverythingBesideLiveTraffic(t *testing.T) {
	f := newLogFixture(t, 256<<20)
	f.addShard(1)
	f.mails(0, 300)
	f.mails(1, 200)
	raw := fixtureBytes(3*fixturePart, 1)
	env, _ := f.large(0, raw, fixturePart, nil)
	stopLive := f.start(func(ctx context.Context) error {
		for ctx.Err() == nil {
			f.mail(0, "live\r\n")
		}
		return nil
	})
	var last ReplayProgress
	rec := newRecorder(nil)
	sum, err := f.replay(f.ctx(), Replay{Progress: func(p ReplayProgress) { last = p }}, rec)
	stopLive()
	if err != nil {
		t.Fatal(err)
	}
	// What arrives between the test's last mail and the start of the replay is part of it.
	if sum.Done < 501 || uint64(rec.total()) != sum.Done || sum.Read != sum.Done || last.Read == 0 || last.Total != last.Read {
		t.Errorf("summary %+v, %d handled, last progress %+v", sum, rec.total(), last)
	}
	got, err := readAll(t, rec.seen(mustID(env))[0])
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "the large mail", got, raw)
	if left := append(f.traces(0), f.traces(1)...); len(left) != 0 {
		t.Errorf("left in the log: %v", left)
	}
	if i := f.info(0, stream.Storer); i.Delivered.Consumer != 0 {
		t.Error("the storer's consumer was moved")
	}
}

func TestReplayOfARange(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	ids, _ := f.mails(0, 10)
	s, err := f.js.Stream(f.ctx(), "MAIL_0")
	if err != nil {
		t.Fatal(err)
	}
	at := func(seq uint64) time.Time {
		m, err := s.GetMsg(f.ctx(), seq)
		if err != nil {
			t.Fatal(err)
		}
		return m.Time
	}
	cases := map[string]struct {
		replay      Replay
		first, last int // of ids; -1 none
	}{
		"sequences":         {Replay{FromSeq: 3, ToSeq: 5}, 2, 4},
		"times":             {Replay{Since: at(4), Until: at(8)}, 3, 6},
		"since":             {Replay{Since: at(9)}, 8, 9},
		"until":             {Replay{Until: at(2)}, 0, 0},
		"nothing yet":       {Replay{Since: time.Now().Add(time.Hour)}, 0, -1},
		"nothing any more":  {Replay{Until: time.Now().Add(-time.Hour)}, 0, -1},
		"past the end":      {Replay{FromSeq: 8, ToSeq: 100}, 7, 9},
		"one mail":          {Replay{FromSeq: 10, ToSeq: 10}, 9, 9},
		"after the last":    {Replay{FromSeq: 11}, 0, -1},
		"dry run of a part": {Replay{FromSeq: 2, ToSeq: 4, DryRun: true}, 1, 3},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			rec := newRecorder(nil)
			sum, err := f.replay(f.ctx(), c.replay, rec)
			if err != nil {
				t.Fatal(err)
			}
			if want := uint64(c.last - c.first + 1); sum.Done != want || (!c.replay.DryRun && uint64(rec.total()) != want) {
				t.Errorf("%d done, %d handled, want %d", sum.Done, rec.total(), want)
			}
			if c.replay.DryRun && rec.total() != 0 {
				t.Error("a dry run called the handler")
			}
			for i := c.first; i <= c.last && !c.replay.DryRun; i++ {
				if rec.count(ids[i]) != 1 {
					t.Errorf("mail %d handled %d times", i+1, rec.count(ids[i]))
				}
			}
		})
	}
	if left := f.traces(0); len(left) != 0 {
		t.Errorf("left in the log: %v", left)
	}
}

func TestReplayOfSomeRecipients(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	f.mails(0, 5, "a@example.com")
	f.mails(0, 7, "b@example.net", "c@example.com")
	f.mails(0, 11, "d@example.org")
	for _, c := range []struct {
		replay Replay
		want   uint64
	}{
		{Replay{Mailboxes: []string{"A@example.com"}}, 5},
		{Replay{Domains: []string{"example.com"}}, 12},
		{Replay{Domains: []string{"example.net"}, Mailboxes: []string{"d@example.org"}}, 18},
		{Replay{Domains: []string{"ample.com"}}, 0},
	} {
		for _, dry := range []bool{false, true} {
			c.replay.DryRun = dry
			sum, err := f.replay(f.ctx(), c.replay, newRecorder(nil))
			if err != nil {
				t.Fatal(err)
			}
			if sum.Done != c.want || sum.Skipped != 23-c.want || sum.Read != 23 {
				t.Errorf("%v %v dry %v: %+v", c.replay.Mailboxes, c.replay.Domains, dry, sum)
			}
		}
	}
}

func TestInterruptedReplayContinues(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	ids, _ := f.mails(0, 400)
	r := Replay{Name: "rebuild", Target: "storer into db1", BatchMessages: 10, Workers: 1}
	ctx, cancel := context.WithCancel(f.ctx())
	defer cancel()
	first := newRecorder(nil)
	var handled atomic.Int64
	first.verdict = func(*stream.Message) Verdict {
		if handled.Add(1) == 150 {
			cancel()
		}
		return Done()
	}
	if _, err := f.replay(ctx, r, first); !errors.Is(err, context.Canceled) || !containsText(err, "same name continues") {
		t.Fatalf("interrupted with: %v", err)
	}
	if first.total() == len(ids) {
		t.Fatal("it was not interrupted")
	}
	f.mails(0, 50) // arrived later: not part of it
	second := newRecorder(nil)
	if _, err := f.replay(f.ctx(), r, second); err != nil {
		t.Fatal(err)
	}
	if both := first.total() + second.total(); both != len(ids) {
		t.Errorf("%d + %d mails handled of %d", first.total(), second.total(), len(ids))
	}
	if left := f.traces(0); len(left) != 0 {
		t.Errorf("left in the log: %v", left)
	}
}

func TestTwoProcessesShareAReplay(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	ids, _ := f.mails(0, 500)
	r := Replay{Name: "shared", Target: "db1", BatchMessages: 5, Workers: 1, Rate: 2000}
	recs := []*recorder{newRecorder(nil), newRecorder(nil)}
	both := make(chan struct{})
	var once [2]sync.Once
	var started atomic.Int64
	for i, rec := range recs {
		rec.verdict = func(*stream.Message) Verdict {
			once[i].Do(func() {
				if started.Add(1) == 2 {
					close(both)
				}
				<-both
			})
			return Done()
		}
	}
	var wg sync.WaitGroup
	for _, rec := range recs {
		nc := f.connect()
		wg.Go(func() {
			if _, err := r.Run(f.ctx(), nc, rec, f.logger(), prometheus.NewRegistry()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if recs[0].total()+recs[1].total() != len(ids) || recs[0].total() == 0 || recs[1].total() == 0 {
		t.Errorf("%d + %d of %d", recs[0].total(), recs[1].total(), len(ids))
	}
	if left := f.traces(0); len(left) != 0 {
		t.Errorf("left in the log: %v", left)
	}
}

func TestReplayOfADifferentKindUnderTheSameNameIsRefused(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	f.mails(0, 5)
	hold, holding := make(chan struct{}), make(chan struct{}, 10)
	ended := make(chan error, 1)
	go func() {
		_, err := f.replay(f.ctx(), Replay{Name: "n", Target: "db1", Parameters: "--since 24h"}, newRecorder(func(*stream.Message) Verdict {
			holding <- struct{}{}
			<-hold
			return Done()
		}))
		ended <- err
	}()
	<-holding
	for _, other := range []Replay{
		{Name: "n", Target: "db2", Parameters: "--since 24h"},
		{Name: "n", Target: "db1", Parameters: "--since 12h"},
	} {
		rec := newRecorder(nil)
		if _, err := f.replay(f.ctx(), other, rec); !errors.Is(err, ErrReplayMismatch) || !containsText(err, "another name") {
			t.Errorf("%s %s: %v", other.Target, other.Parameters, err)
		}
		if rec.total() != 0 {
			t.Error("it replayed all the same")
		}
	}
	close(hold)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := f.replay(f.ctx(), Replay{Name: "bad name"}, newRecorder(nil)); err == nil {
		t.Error("a name with a space was accepted")
	}
}

func TestReplayRate(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	const rate, mails = 200, 300
	f.mails(0, mails)
	sum, err := f.replay(f.ctx(), Replay{Rate: rate}, newRecorder(nil))
	if err != nil {
		t.Fatal(err)
	}
	// The limiter starts with one batch (a quarter of a second's worth) to give.
	if least := time.Duration(float64(mails-rate/4) / rate * float64(time.Second)); sum.Elapsed < least {
		t.Errorf("%d mails at %d per second took %s, at least %s expected", mails, rate, sum.Elapsed, least)
	}
}

func TestReplayWaitsForTheDatabase(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	f.mails(0, 50)
	var calls atomic.Int64
	rec := newRecorder(func(*stream.Message) Verdict {
		if calls.Add(1) < 100 {
			return Retry(errors.New("away"))
		}
		return Done()
	})
	sum, err := f.replay(f.ctx(), Replay{}, rec)
	if err != nil || sum.Done != 50 || rec.total() != 50 {
		t.Errorf("summary %+v: %v", sum, err)
	}
}

func TestReplayCountsTheDead(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	ids, _ := f.mails(0, 20)
	rec := newRecorder(func(m *stream.Message) Verdict {
		if m.ID == ids[3] {
			return Dead("refused")
		}
		return Done()
	})
	sum, err := f.replay(f.ctx(), Replay{DeadLetters: true}, rec)
	if err != nil || sum.Done != 19 || sum.Dead != 1 || len(f.dead()) != 1 {
		t.Errorf("summary %+v, %d dead letters: %v", sum, len(f.dead()), err)
	}
}

func TestReplayStopsAtMailItDoesNotUnderstand(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	env := fixtureEnvelope([]byte("x"))
	env.Requires = 1 << 40
	f.send(f.headMsg(0, env, []byte("x")))
	if _, err := f.replay(f.ctx(), Replay{}, newRecorder(nil)); !containsText(err, "newer version") {
		t.Errorf("ended with: %v", err)
	}
}
