package consume

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/stream"
)

func TestRedeliveryHandledAloneAfterThree(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	var bad ulid.ULID
	rec := newRecorder(nil)
	rec.verdict = func(m *stream.Message) Verdict {
		if m.ID == bad && !m.Alone {
			panic("parser fell over")
		}
		return Done()
	}
	var mates []ulid.ULID
	for i := range 10 {
		id, _ := f.mail(0, fmt.Sprintf("mail %d\r\n", i))
		if i == 4 {
			bad = id
			continue
		}
		mates = append(mates, id)
	}
	f.worker(WorkerConfig{DeadLetters: true}, rec)
	eventually(t, "all mails", func() bool { return rec.total() == 10 && f.settled() })
	for _, id := range mates {
		if rec.count(id) != 1 {
			t.Errorf("a batch-mate was stored %d times", rec.count(id))
		}
	}
	all := rec.seen(bad)
	if last := all[len(all)-1]; !last.Alone || last.Delivered != aloneAfter {
		t.Errorf("stored with alone=%v at delivery %d", last.Alone, last.Delivered)
	}
	if n := len(f.dead()); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

func TestPanickingMailEndsAsDeadLetterWithItsText(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	bad, _ := f.mail(0, "bad\r\n")
	good, _ := f.mail(0, "good\r\n")
	rec := newRecorder(func(m *stream.Message) Verdict {
		if m.ID == bad {
			panic("index out of range [7]")
		}
		return Done()
	})
	f.worker(WorkerConfig{DeadLetters: true}, rec)
	eventually(t, "both settled", f.settled)
	if rec.count(good) != 1 || rec.count(bad) != 0 {
		t.Errorf("good %d times, bad %d times", rec.count(good), rec.count(bad))
	}
	dead := f.dead()
	if len(dead) != 1 || dead[0].ID != bad || !strings.Contains(dead[0].Reason, "index out of range [7]") || dead[0].Attempts != deadAfter-1 {
		t.Fatalf("dead letters: %+v", dead)
	}
}

func TestBadMessageIsParkedNotRetried(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	bad, seq := f.mail(0, "bad\r\n")
	for i := range 20 {
		f.mail(0, fmt.Sprintf("good %d\r\n", i))
	}
	rec := newRecorder(func(m *stream.Message) Verdict {
		if m.ID == bad {
			return Dead("Error 1406: Data too long\nfor column")
		}
		return Done()
	})
	f.worker(WorkerConfig{DeadLetters: true}, rec)
	eventually(t, "all settled", f.settled)
	if len(rec.seen(bad)) != 1 || rec.total() != 20 {
		t.Errorf("the bad one was tried %d times; %d stored", len(rec.seen(bad)), rec.total())
	}
	dead := f.dead()
	if len(dead) != 1 {
		t.Fatalf("%d dead letters", len(dead))
	}
	d := dead[0]
	if d.ID != bad || d.Sequence != seq || d.Stream != "MAIL_0" || d.Attempts != 1 || d.Reason != "Error 1406: Data too long for column" {
		t.Errorf("dead letter: %+v", d)
	}
	got, err := NewDeadLetters(f.nc).Get(t.Context(), bad.String())
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "the dead letter", got.Message.Raw, []byte("bad\r\n"))
}

func TestWithoutDeadLettersABadMailIsSkipped(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	bad, _ := f.mail(0, "bad\r\n")
	good, _ := f.mail(0, "good\r\n")
	rec := newRecorder(func(m *stream.Message) Verdict {
		if m.ID == bad {
			return Dead("no")
		}
		return Done()
	})
	f.worker(WorkerConfig{Consumer: stream.Cachewarmer}, rec)
	eventually(t, "both settled", func() bool {
		i := f.info(0, stream.Cachewarmer)
		return i.AckFloor.Stream >= f.state(stream.StreamName(0)).LastSeq && i.NumAckPending == 0
	})
	if rec.count(good) != 1 || len(f.dead()) != 0 {
		t.Errorf("good %d times, %d dead letters", rec.count(good), len(f.dead()))
	}
}

func TestUnreadableEnvelopeIsADeadLetterWithItsBytes(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	msg := f.headMsg(0, fixtureEnvelope([]byte("x")), []byte("raw bytes"))
	msg.Header.Set(stream.EnvelopeHeader, "!!!")
	key := msg.Header.Get(stream.IDHeader)
	f.send(msg)
	f.worker(WorkerConfig{DeadLetters: true}, newRecorder(nil))
	eventually(t, "settled", f.settled)
	dead := f.dead()
	if len(dead) != 1 || dead[0].Key != key || !strings.Contains(dead[0].Reason, "envelope") {
		t.Fatalf("dead letters: %+v", dead)
	}
	got, err := NewDeadLetters(f.nc).Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "the dead letter", got.Message.Raw, []byte("raw bytes"))
}

func TestUnknownRequirementPausesAndNeverDeadLetters(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	env := fixtureEnvelope([]byte("from the future"))
	env.Requires = 1 << 40
	f.send(f.headMsg(0, env, []byte("from the future")))
	rec := newRecorder(nil)
	w, stop := f.worker(WorkerConfig{DeadLetters: true, BatchMessages: 2}, rec)
	eventually(t, "the pause", func() bool { return containsText(w.Health(context.Background()), "newer version") })
	start := f.state(stream.StreamName(0)).LastTime
	eventually(t, "twice AckWait", func() bool {
		f.mail(0, "tick\r\n")
		return f.state(stream.StreamName(0)).LastTime.Sub(start) > 2*fixtureAckWait
	})
	if got := f.info(0, stream.Storer); got.NumRedelivered != 0 || len(f.dead()) != 0 {
		t.Errorf("redelivered %d, dead letters %d", got.NumRedelivered, len(f.dead()))
	}
	if got := f.info(0, stream.Storer).NumPending; got == 0 {
		t.Error("went on fetching")
	}
	stop()
	c, err := f.js.Consumer(f.ctx(), stream.StreamName(0), stream.Storer)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := c.Next()
	if err != nil || msg.Headers().Get(stream.IDHeader) != envelopeText(env) {
		t.Errorf("the mail was not given back: %v", err)
	}
}

func TestFullDeadLettersPauseAndDropNothing(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	f.deadStream(4096)
	big := strings.Repeat("x", 8192)
	bad, _ := f.mail(0, big)
	rec := newRecorder(func(m *stream.Message) Verdict {
		if m.ID == bad {
			return Dead("refused")
		}
		return Done()
	})
	w, _ := f.worker(WorkerConfig{DeadLetters: true, Workers: 1}, rec)
	eventually(t, "red health", func() bool { return containsText(w.Health(context.Background()), "the log is full") })
	if got := f.info(0, stream.Storer); got.NumAckPending != 1 {
		t.Errorf("%d mails held", got.NumAckPending)
	}
	if good, _ := f.mail(0, "later\r\n"); rec.count(good) != 0 {
		t.Error("went on without the dead letter")
	}
	f.deadStream(1 << 20)
	eventually(t, "the dead letter and the rest", func() bool { return f.settled() && len(f.dead()) == 1 })
	if got := f.info(0, stream.Storer); got.NumRedelivered != 0 {
		t.Errorf("%d mails were redelivered", got.NumRedelivered)
	}
	if err := w.Health(t.Context()); err != nil {
		t.Errorf("health afterwards: %v", err)
	}
}

func TestHandlerThatForgetsVerdictsIsAFault(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	f.mail(0, "a\r\n")
	f.mail(0, "b\r\n")
	f.worker(WorkerConfig{DeadLetters: true}, HandlerFunc(func(_ context.Context, b []*stream.Message) []Verdict { return make([]Verdict, len(b)-1) }))
	eventually(t, "two dead letters", func() bool { return f.settled() && len(f.dead()) == 2 })
}

func TestSixthDeliveryIsADeadLetterUntried(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	id, _ := f.mail(0, "kills the process\r\n")
	c, err := f.js.Consumer(f.ctx(), stream.StreamName(0), stream.Storer)
	if err != nil {
		t.Fatal(err)
	}
	for range deadAfter - 1 {
		msg, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if err := msg.Nak(); err != nil {
			t.Fatal(err)
		}
	}
	rec := newRecorder(nil)
	f.worker(WorkerConfig{DeadLetters: true}, rec)
	eventually(t, "the dead letter", func() bool { return f.settled() && len(f.dead()) == 1 })
	if len(rec.seen(id)) != 0 {
		t.Error("the handler was called once more")
	}
}
