package consume_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/consume"
	"github.com/sluice-mail/sluice/pkg/stream/dead"
	"github.com/sluice-mail/sluice/pkg/stream/internal/streamtest"
)

// letters are the dead letters there are.
func letters(t *testing.T, f *streamtest.Fixture) (all []dead.Letter) {
	t.Helper()
	if err := dead.New(f.NC).List(f.Context(), func(l dead.Letter) error { all = append(all, l); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// A mail that makes the handler panic is tried once more without derived columns, in the same delivery. Its companions
// keep theirs.
func TestPanickingMailIsHandledPlainAndItsCompanionsAreNot(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	raws := make([]string, 10)
	for i := range raws {
		raws[i] = fmt.Sprintf("mail %d\r\n", i)
	}
	ids, _ := f.Pack(0, raws...)
	var plain atomic.Int64
	rec := streamtest.NewRecorder(func(m *stream.Message) consume.Verdict {
		switch {
		case m.ID == ids[4] && !m.Alone:
			panic("parser fell over")
		case m.Alone:
			plain.Add(1)
		}
		return consume.Done()
	})
	f.Worker(consume.Config{Grave: dead.New(f.NC)}, rec)
	streamtest.Eventually(t, "all mails", func() bool { return rec.Total() == 10 && f.Settled() })
	for i, id := range ids {
		seen := rec.Seen(id)
		if last := seen[len(seen)-1]; rec.Count(id) != 1 || last.Delivered != 1 || last.Alone != (i == 4) {
			t.Errorf("mail %d was stored %d times, at delivery %d, plain %v", i, rec.Count(id), last.Delivered, last.Alone)
		}
	}
	if n := len(letters(t, f)); n != 0 || plain.Load() != 1 {
		t.Errorf("%d dead letters, %d calls without derived columns", n, plain.Load())
	}
}

func TestPanickingMailEndsAsDeadLetterWithItsText(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	bad, _ := f.Mail(0, "bad\r\n")
	good, _ := f.Mail(0, "good\r\n")
	rec := streamtest.NewRecorder(func(m *stream.Message) consume.Verdict {
		if m.ID == bad {
			panic("index out of range [7]")
		}
		return consume.Done()
	})
	f.Worker(consume.Config{Grave: dead.New(f.NC)}, rec)
	streamtest.Eventually(t, "both settled", f.Settled)
	if rec.Count(good) != 1 || rec.Count(bad) != 0 {
		t.Errorf("good %d times, bad %d times", rec.Count(good), rec.Count(bad))
	}
	buried := letters(t, f)
	if len(buried) != 1 || buried[0].ID != bad || !strings.Contains(buried[0].Reason, "index out of range [7]") || buried[0].Attempts != 1 {
		t.Fatalf("dead letters: %+v", buried)
	}
}

func TestBadMessageIsParkedNotRetried(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	bad, seq := f.Mail(0, "bad\r\n")
	for i := range 20 {
		f.Mail(0, fmt.Sprintf("good %d\r\n", i))
	}
	rec := streamtest.NewRecorder(func(m *stream.Message) consume.Verdict {
		if m.ID == bad {
			return consume.Dead("Error 1406: Data too long\nfor column")
		}
		return consume.Done()
	})
	f.Worker(consume.Config{Grave: dead.New(f.NC)}, rec)
	streamtest.Eventually(t, "all settled", f.Settled)
	if len(rec.Seen(bad)) != 1 || rec.Total() != 20 {
		t.Errorf("the bad one was tried %d times; %d stored", len(rec.Seen(bad)), rec.Total())
	}
	buried := letters(t, f)
	if len(buried) != 1 {
		t.Fatalf("%d dead letters", len(buried))
	}
	d := buried[0]
	if d.ID != bad || d.Sequence != seq || d.Stream != "MAIL_0" || d.Attempts != 1 || d.Reason != "Error 1406: Data too long for column" {
		t.Errorf("dead letter: %+v", d)
	}
	got, err := dead.New(f.NC).Get(t.Context(), bad.String())
	if err != nil {
		t.Fatal(err)
	}
	streamtest.Equal(t, "the dead letter", got.Message.Raw, []byte("bad\r\n"))
}

func TestWithoutDeadLettersABadMailIsSkipped(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	bad, _ := f.Mail(0, "bad\r\n")
	good, _ := f.Mail(0, "good\r\n")
	rec := streamtest.NewRecorder(func(m *stream.Message) consume.Verdict {
		if m.ID == bad {
			return consume.Dead("no")
		}
		return consume.Done()
	})
	f.Worker(consume.Config{Consumer: stream.Cachewarmer}, rec)
	streamtest.Eventually(t, "both settled", func() bool { return f.SettledBy(stream.Cachewarmer) })
	if rec.Count(good) != 1 || len(letters(t, f)) != 0 {
		t.Errorf("good %d times, %d dead letters", rec.Count(good), len(letters(t, f)))
	}
}

func TestUnreadableEnvelopeIsADeadLetterWithItsBytes(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	msg := f.Head(0, streamtest.Envelope([]byte("x")), []byte("raw bytes"))
	msg.Header.Set(stream.EnvelopeHeader, "!!!")
	key := msg.Header.Get(stream.IDHeader)
	f.Send(msg)
	f.Worker(consume.Config{Grave: dead.New(f.NC)}, streamtest.NewRecorder(nil))
	streamtest.Eventually(t, "settled", f.Settled)
	buried := letters(t, f)
	if len(buried) != 1 || buried[0].Key != key || !strings.Contains(buried[0].Reason, "envelope") {
		t.Fatalf("dead letters: %+v", buried)
	}
	got, err := dead.New(f.NC).Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	streamtest.Equal(t, "the dead letter", got.Message.Raw, []byte("raw bytes"))
}

func TestUnknownRequirementPausesAndNeverDeadLetters(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	env := streamtest.Envelope([]byte("from the future"))
	env.Requires = 1 << 40
	f.Send(f.Head(0, env, []byte("from the future")))
	rec := streamtest.NewRecorder(nil)
	w, stop := f.Worker(consume.Config{Grave: dead.New(f.NC), BatchMails: 2}, rec)
	streamtest.Eventually(t, "the pause", func() bool { return streamtest.Says(w.Health(context.Background()), "newer version") })
	start := f.State(stream.StreamName(0)).LastTime
	streamtest.Eventually(t, "twice AckWait", func() bool {
		f.Mail(0, "tick\r\n")
		return f.State(stream.StreamName(0)).LastTime.Sub(start) > 2*streamtest.AckWait
	})
	if got := f.Info(0, stream.Storer); got.NumRedelivered != 0 || len(letters(t, f)) != 0 {
		t.Errorf("redelivered %d, dead letters %d", got.NumRedelivered, len(letters(t, f)))
	}
	if got := f.Info(0, stream.Storer).NumPending; got == 0 {
		t.Error("went on fetching")
	}
	stop()
	c, err := f.JS.Consumer(f.Context(), stream.StreamName(0), stream.Storer)
	if err != nil {
		t.Fatal(err)
	}
	given, err := c.Fetch(2) // with the one that was fetched along with it, in either order
	if err != nil {
		t.Fatal(err)
	}
	var back []string
	for msg := range given.Messages() {
		back = append(back, msg.Headers().Get(stream.IDHeader))
	}
	if !slices.Contains(back, streamtest.ID(env).String()) {
		t.Errorf("the mail was not given back: %v, %v", back, given.Error())
	}
}

func TestFullDeadLettersPauseAndDropNothing(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	f.DeadStream(4096)
	big := strings.Repeat("x", 8192)
	bad, _ := f.Mail(0, big)
	rec := streamtest.NewRecorder(func(m *stream.Message) consume.Verdict {
		if m.ID == bad {
			return consume.Dead("refused")
		}
		return consume.Done()
	})
	w, _ := f.Worker(consume.Config{Grave: dead.New(f.NC), Workers: 1}, rec)
	streamtest.Eventually(t, "red health", func() bool { return streamtest.Says(w.Health(context.Background()), "the log is full") })
	if got := f.Info(0, stream.Storer); got.NumAckPending != 1 {
		t.Errorf("%d mails held", got.NumAckPending)
	}
	if good, _ := f.Mail(0, "later\r\n"); rec.Count(good) != 0 {
		t.Error("went on without the dead letter")
	}
	f.DeadStream(1 << 20)
	streamtest.Eventually(t, "the dead letter and the rest", func() bool { return f.Settled() && len(letters(t, f)) == 1 })
	if got := f.Info(0, stream.Storer); got.NumRedelivered != 0 {
		t.Errorf("%d mails were redelivered", got.NumRedelivered)
	}
	if err := w.Health(t.Context()); err != nil {
		t.Errorf("health afterwards: %v", err)
	}
}

func TestHandlerThatForgetsVerdictsIsAFault(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	f.Mail(0, "a\r\n")
	f.Mail(0, "b\r\n")
	f.Worker(consume.Config{Grave: dead.New(f.NC)}, consume.HandlerFunc(func(_ context.Context, b []*stream.Message) []consume.Verdict {
		return make([]consume.Verdict, len(b)-1)
	}))
	streamtest.Eventually(t, "two dead letters", func() bool { return f.Settled() && len(letters(t, f)) == 2 })
}

// Restarts and outages deliver a message again and again. That is no evidence against its mails.
func TestManyDeliveriesAreNoEvidence(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	ids, _ := f.Pack(0, "one\r\n", "two\r\n", "three\r\n")
	for range 2 * consume.SuspectAfter {
		f.NakAll(stream.Storer)
	}
	rec := streamtest.NewRecorder(nil)
	f.Worker(consume.Config{Grave: dead.New(f.NC)}, rec)
	streamtest.Eventually(t, "the mails", func() bool { return f.Settled() && rec.Total() == 3 })
	for _, id := range ids {
		if seen := rec.Seen(id); len(seen) != 1 || seen[0].Alone || seen[0].Delivered != 2*consume.SuspectAfter+1 {
			t.Errorf("handed on %d times, plain %v, at delivery %d", len(seen), seen[0].Alone, seen[0].Delivered)
		}
	}
	if n := len(letters(t, f)); n != 0 {
		t.Errorf("%d dead letters", n)
	}
	streamtest.Eventually(t, "no mark is left", func() bool { return len(f.Marks()) == 0 })
}

// Workers of one process that share a Turn never handle suspicious mail at the same time.
func TestWorkersOfOneProcessTakeTurns(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	for range 15 {
		f.Pack(0, "one\r\n", "two\r\n")
	}
	consumers := []string{stream.Storer, stream.Cachewarmer}
	for range consume.SuspectAfter {
		for _, name := range consumers {
			f.NakAll(name)
		}
	}
	turn := consume.NewTurn()
	var active, most atomic.Int64
	for _, name := range consumers {
		f.Worker(consume.Config{Consumer: name, Turn: turn}, consume.HandlerFunc(func(_ context.Context, b []*stream.Message) []consume.Verdict {
			most.Store(max(most.Load(), active.Add(1)))
			defer active.Add(-1)
			f.Info(0, name) // takes as long as a question to the log
			verdicts := make([]consume.Verdict, len(b))
			for i := range verdicts {
				verdicts[i] = consume.Done()
			}
			return verdicts
		}))
	}
	streamtest.Eventually(t, "both settled", func() bool { return f.Settled() && f.SettledBy(stream.Cachewarmer) })
	if most.Load() != 1 {
		t.Errorf("%d calls at once", most.Load())
	}
}
