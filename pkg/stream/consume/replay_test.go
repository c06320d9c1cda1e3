package consume_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/consume"
	"github.com/sluice-mail/sluice/pkg/stream/dead"
	"github.com/sluice-mail/sluice/pkg/stream/internal/streamtest"
)

// replay runs a replay at the pace of tests.
func replay(ctx context.Context, f *streamtest.Fixture, r consume.Replay, h consume.Handler) (consume.ReplaySummary, error) {
	r.Pace = streamtest.Pace()
	return r.Run(ctx, f.NC, h, f.Logger(), prometheus.NewRegistry())
}

func TestReplayOfEverythingBesideLiveTraffic(t *testing.T) {
	f := streamtest.New(t, 256<<20)
	f.AddShard(1)
	f.Mails(0, 300)
	f.Mails(1, 200)
	raw := streamtest.Bytes(3*streamtest.PartBytes, 1)
	env, _ := f.Large(0, raw)
	stopLive := f.Run(func(ctx context.Context) error {
		for ctx.Err() == nil {
			f.Mail(0, "live\r\n")
		}
		return nil
	})
	var last consume.ReplayProgress
	rec := streamtest.NewRecorder(nil)
	sum, err := replay(f.Context(), f, consume.Replay{Progress: func(p consume.ReplayProgress) { last = p }}, rec)
	stopLive()
	if err != nil {
		t.Fatal(err)
	}
	// What arrives between the test's last mail and the start of the replay is part of it.
	if sum.Done < 501 || uint64(rec.Total()) != sum.Done || sum.Read != sum.Done || last.Read == 0 || last.Total != last.Read {
		t.Errorf("summary %+v, %d handled, last progress %+v", sum, rec.Total(), last)
	}
	got, err := streamtest.ReadAll(t, rec.Seen(streamtest.ID(env))[0])
	if err != nil {
		t.Fatal(err)
	}
	streamtest.Equal(t, "the large mail", got, raw)
	if left := append(f.Traces(0), f.Traces(1)...); len(left) != 0 {
		t.Errorf("left in the log: %v", left)
	}
	if i := f.Info(0, stream.Storer); i.Delivered.Consumer != 0 {
		t.Error("the storer's consumer was moved")
	}
}

func TestReplayOfARange(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	ids, _ := f.Mails(0, 10)
	s, err := f.JS.Stream(f.Context(), "MAIL_0")
	if err != nil {
		t.Fatal(err)
	}
	at := func(seq uint64) time.Time {
		m, err := s.GetMsg(f.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		return m.Time
	}
	cases := map[string]struct {
		replay      consume.Replay
		first, last int // of ids; -1 none
	}{
		"sequences":         {consume.Replay{FromSeq: 3, ToSeq: 5}, 2, 4},
		"times":             {consume.Replay{Since: at(4), Until: at(8)}, 3, 6},
		"since":             {consume.Replay{Since: at(9)}, 8, 9},
		"until":             {consume.Replay{Until: at(2)}, 0, 0},
		"nothing yet":       {consume.Replay{Since: time.Now().Add(time.Hour)}, 0, -1},
		"nothing any more":  {consume.Replay{Until: time.Now().Add(-time.Hour)}, 0, -1},
		"past the end":      {consume.Replay{FromSeq: 8, ToSeq: 100}, 7, 9},
		"one mail":          {consume.Replay{FromSeq: 10, ToSeq: 10}, 9, 9},
		"after the last":    {consume.Replay{FromSeq: 11}, 0, -1},
		"dry run of a part": {consume.Replay{FromSeq: 2, ToSeq: 4, DryRun: true}, 1, 3},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			rec := streamtest.NewRecorder(nil)
			sum, err := replay(f.Context(), f, c.replay, rec)
			if err != nil {
				t.Fatal(err)
			}
			if want := uint64(c.last - c.first + 1); sum.Done != want || (!c.replay.DryRun && uint64(rec.Total()) != want) {
				t.Errorf("%d done, %d handled, want %d", sum.Done, rec.Total(), want)
			}
			if c.replay.DryRun && rec.Total() != 0 {
				t.Error("a dry run called the handler")
			}
			for i := c.first; i <= c.last && !c.replay.DryRun; i++ {
				if rec.Count(ids[i]) != 1 {
					t.Errorf("mail %d handled %d times", i+1, rec.Count(ids[i]))
				}
			}
		})
	}
	if left := f.Traces(0); len(left) != 0 {
		t.Errorf("left in the log: %v", left)
	}
}

func TestReplayOfSomeRecipients(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	f.Mails(0, 5, "a@example.com")
	f.Mails(0, 7, "b@example.net", "c@example.com")
	f.Mails(0, 11, "d@example.org")
	for _, c := range []struct {
		replay consume.Replay
		want   uint64
	}{
		{consume.Replay{Mailboxes: []string{"A@example.com"}}, 5},
		{consume.Replay{Domains: []string{"example.com"}}, 12},
		{consume.Replay{Domains: []string{"example.net"}, Mailboxes: []string{"d@example.org"}}, 18},
		{consume.Replay{Domains: []string{"ample.com"}}, 0},
	} {
		for _, dry := range []bool{false, true} {
			c.replay.DryRun = dry
			sum, err := replay(f.Context(), f, c.replay, streamtest.NewRecorder(nil))
			if err != nil {
				t.Fatal(err)
			}
			if sum.Done != c.want || sum.Skipped != 23-c.want || sum.Read != 23 {
				t.Errorf("%v %v dry %v: %+v", c.replay.Mailboxes, c.replay.Domains, dry, sum)
			}
		}
	}
}

// Filters select mails of packs, sequences select packs; the summary counts mails and the progress messages.
func TestReplayOfPacks(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	for range 4 {
		f.Pack(0, raws(5, nil)...)
	}
	f.Mails(0, 2, "other@example.org")
	var last consume.ReplayProgress
	progress := func(p consume.ReplayProgress) { last = p }
	rec := streamtest.NewRecorder(nil)
	sum, err := replay(f.Context(), f, consume.Replay{Domains: []string{"example.com"}, Progress: progress}, rec)
	if err != nil || sum.Read != 22 || sum.Done != 20 || sum.Skipped != 2 || rec.Total() != 20 || last.Total != 6 || last.Read != 6 {
		t.Errorf("summary %+v, progress %+v: %v", sum, last, err)
	}
	for _, dry := range []bool{false, true} {
		sum, err = replay(f.Context(), f, consume.Replay{FromSeq: 2, ToSeq: 3, DryRun: dry}, streamtest.NewRecorder(nil))
		if err != nil || sum.Read != 10 || sum.Done != 10 {
			t.Errorf("dry %v: summary %+v: %v", dry, sum, err)
		}
	}
}

func TestInterruptedReplayContinues(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	ids, _ := f.Mails(0, 400)
	r := consume.Replay{Name: "rebuild", Target: "storer into db1", BatchMails: 10, Workers: 1}
	ctx, cancel := context.WithCancel(f.Context())
	defer cancel()
	first := streamtest.NewRecorder(nil)
	var handled atomic.Int64
	first.Verdict = func(*stream.Message) consume.Verdict {
		if handled.Add(1) == 150 {
			cancel()
		}
		return consume.Done()
	}
	if _, err := replay(ctx, f, r, first); !errors.Is(err, context.Canceled) || !streamtest.Says(err, "same name continues") {
		t.Fatalf("interrupted with: %v", err)
	}
	if first.Total() == len(ids) {
		t.Fatal("it was not interrupted")
	}
	f.Mails(0, 50) // arrived later: not part of it
	second := streamtest.NewRecorder(nil)
	if _, err := replay(f.Context(), f, r, second); err != nil {
		t.Fatal(err)
	}
	if both := first.Total() + second.Total(); both != len(ids) {
		t.Errorf("%d + %d mails handled of %d", first.Total(), second.Total(), len(ids))
	}
	if left := f.Traces(0); len(left) != 0 {
		t.Errorf("left in the log: %v", left)
	}
}

func TestTwoProcessesShareAReplay(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	ids, _ := f.Mails(0, 500)
	r := consume.Replay{Pace: streamtest.Pace(), Name: "shared", Target: "db1", BatchMails: 5, Workers: 1, Rate: 2000}
	recs := []*streamtest.Recorder{streamtest.NewRecorder(nil), streamtest.NewRecorder(nil)}
	both := make(chan struct{})
	var once [2]sync.Once
	var started atomic.Int64
	for i, rec := range recs {
		rec.Verdict = func(*stream.Message) consume.Verdict {
			once[i].Do(func() {
				if started.Add(1) == 2 {
					close(both)
				}
				<-both
			})
			return consume.Done()
		}
	}
	var wg sync.WaitGroup
	for _, rec := range recs {
		nc := f.Connect()
		wg.Go(func() {
			if _, err := r.Run(f.Context(), nc, rec, f.Logger(), prometheus.NewRegistry()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if recs[0].Total()+recs[1].Total() != len(ids) || recs[0].Total() == 0 || recs[1].Total() == 0 {
		t.Errorf("%d + %d of %d", recs[0].Total(), recs[1].Total(), len(ids))
	}
	if left := f.Traces(0); len(left) != 0 {
		t.Errorf("left in the log: %v", left)
	}
}

func TestReplayOfADifferentKindUnderTheSameNameIsRefused(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	f.Mails(0, 5)
	hold, holding := make(chan struct{}), make(chan struct{}, 10)
	ended := make(chan error, 1)
	go func() {
		_, err := replay(f.Context(), f, consume.Replay{Name: "n", Target: "db1", Parameters: "--since 24h"}, streamtest.NewRecorder(func(*stream.Message) consume.Verdict {
			holding <- struct{}{}
			<-hold
			return consume.Done()
		}))
		ended <- err
	}()
	<-holding
	for _, other := range []consume.Replay{
		{Name: "n", Target: "db2", Parameters: "--since 24h"},
		{Name: "n", Target: "db1", Parameters: "--since 12h"},
	} {
		rec := streamtest.NewRecorder(nil)
		if _, err := replay(f.Context(), f, other, rec); !errors.Is(err, consume.ErrReplayMismatch) || !streamtest.Says(err, "another name") {
			t.Errorf("%s %s: %v", other.Target, other.Parameters, err)
		}
		if rec.Total() != 0 {
			t.Error("it replayed all the same")
		}
	}
	close(hold)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := replay(f.Context(), f, consume.Replay{Name: "bad name"}, streamtest.NewRecorder(nil)); err == nil {
		t.Error("a name with a space was accepted")
	}
}

func TestReplayRate(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	const rate, mails = 200, 300
	f.Mails(0, mails)
	sum, err := replay(f.Context(), f, consume.Replay{Rate: rate}, streamtest.NewRecorder(nil))
	if err != nil {
		t.Fatal(err)
	}
	// The limiter starts with one batch (a quarter of a second's worth) to give.
	if least := time.Duration(float64(mails-rate/4) / rate * float64(time.Second)); sum.Elapsed < least {
		t.Errorf("%d mails at %d per second took %s, at least %s expected", mails, rate, sum.Elapsed, least)
	}
}

func TestReplayWaitsForTheDatabase(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	f.Mails(0, 50)
	var calls atomic.Int64
	rec := streamtest.NewRecorder(func(*stream.Message) consume.Verdict {
		if calls.Add(1) < 100 {
			return consume.Retry(errors.New("away"))
		}
		return consume.Done()
	})
	sum, err := replay(f.Context(), f, consume.Replay{}, rec)
	if err != nil || sum.Done != 50 || rec.Total() != 50 {
		t.Errorf("summary %+v: %v", sum, err)
	}
}

func TestReplayCountsTheDead(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	ids, _ := f.Mails(0, 20)
	rec := streamtest.NewRecorder(func(m *stream.Message) consume.Verdict {
		if m.ID == ids[3] {
			return consume.Dead("refused")
		}
		return consume.Done()
	})
	sum, err := replay(f.Context(), f, consume.Replay{Grave: dead.New(f.NC)}, rec)
	if err != nil || sum.Done != 19 || sum.Dead != 1 || len(letters(t, f)) != 1 {
		t.Errorf("summary %+v, %d dead letters: %v", sum, len(letters(t, f)), err)
	}
}

func TestReplayStopsAtMailItDoesNotUnderstand(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	env := streamtest.Envelope([]byte("x"))
	env.Requires = 1 << 40
	f.Send(f.Head(0, env, []byte("x")))
	if _, err := replay(f.Context(), f, consume.Replay{}, streamtest.NewRecorder(nil)); !streamtest.Says(err, "newer version") {
		t.Errorf("ended with: %v", err)
	}
}
