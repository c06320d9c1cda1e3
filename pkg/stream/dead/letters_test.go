package dead

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluice-mail/sluice/pkg/stream"
)

// bury makes dead letters of everything in the log and stops again.
func (f *logFixture) bury(reason string) {
	f.t.Helper()
	_, stop := f.worker(WorkerConfig{Letters: true}, newRecorder(func(*stream.Message) Verdict { return Dead(reason) }))
	eventually(f.t, "the dead letters", f.settled)
	stop()
}

func TestLargeDeadLetterKeepsItsBytesAndComesBack(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	raw := fixtureBytes(7*fixturePart+1, 1)
	env, _ := f.large(0, raw, fixturePart, nil)
	f.bury("refused")
	d := New(f.nc)
	got, err := d.Get(t.Context(), envelopeText(env))
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := readAll(t, got.Message)
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "the dead letter", bytes, raw)

	rec := newRecorder(nil)
	f.worker(WorkerConfig{Letters: true}, rec)
	if err := d.Retry(f.ctx(), envelopeText(env)); err != nil {
		t.Fatal(err)
	}
	if rec.count(got.ID) != 1 {
		t.Fatalf("stored %d times", rec.count(got.ID))
	}
	bytes, err = readAll(t, rec.seen(got.ID)[0])
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "the retried mail", bytes, raw)
	if st := f.state(stream.DeadStream); st.Msgs != 0 {
		t.Errorf("%d messages remain in %s", st.Msgs, stream.DeadStream)
	}
}

func TestDeadLetterStaysUntilItsRetryIsStored(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	id, _ := f.mail(0, "bad\r\n")
	f.bury("refused")
	d := New(f.nc)
	d.poll = 5 * time.Millisecond

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond) // nobody consumes
	defer cancel()
	if err := d.Retry(ctx, id.String()); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("retry without a storer: %v", err)
	}
	if len(f.dead()) != 1 {
		t.Fatal("the dead letter is gone although nothing stored the mail")
	}

	commit := make(chan struct{})
	rec := newRecorder(func(*stream.Message) Verdict { <-commit; return Done() })
	f.worker(WorkerConfig{Letters: true}, rec)
	retried := make(chan error, 1)
	go func() { retried <- d.Retry(f.ctx(), id.String()) }()
	eventually(t, "the mail in the storer's hands", func() bool { return f.info(0, stream.Storer).NumAckPending > 0 })
	if len(f.dead()) != 1 {
		t.Error("the dead letter is gone before the commit")
	}
	close(commit)
	if err := <-retried; err != nil {
		t.Fatal(err)
	}
	if len(f.dead()) != 0 || rec.count(id) == 0 {
		t.Errorf("%d dead letters, stored %d times", len(f.dead()), rec.count(id))
	}
}

func TestRetriedMailThatDiesAgainIsOneDeadLetter(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	id, _ := f.mail(0, "bad\r\n")
	f.worker(WorkerConfig{Letters: true}, newRecorder(func(*stream.Message) Verdict { return Dead("still refused") }))
	eventually(t, "the dead letter", func() bool { return f.settled() && len(f.dead()) == 1 })
	d := New(f.nc)
	for n := 1; n <= 3; n++ {
		if err := d.Retry(f.ctx(), id.String()); err != nil {
			t.Fatal(err)
		}
		dead := f.dead()
		if len(dead) != 1 || dead[0].Retries != n {
			t.Fatalf("after retry %d: %+v", n, dead)
		}
	}
}

func TestRetryAll(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	const mails = retryAtOnce + 20
	for i := range mails {
		f.mail(0, fmt.Sprintf("mail %d\r\n", i))
	}
	f.large(0, fixtureBytes(3*fixturePart, 2), fixturePart, nil)
	f.bury("refused")
	if got := len(f.dead()); got != mails+1 {
		t.Fatalf("%d dead letters", got)
	}
	rec := newRecorder(nil)
	f.worker(WorkerConfig{Letters: true}, rec)
	n, err := New(f.nc).RetryAll(f.ctx())
	if err != nil || n != mails+1 {
		t.Fatalf("retried %d: %v", n, err)
	}
	if rec.total() != mails+1 || f.state(stream.DeadStream).Msgs != 0 {
		t.Errorf("%d stored, %d messages remain dead", rec.total(), f.state(stream.DeadStream).Msgs)
	}
}

func TestDropRemovesTheWholeMail(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	env, _ := f.large(0, fixtureBytes(3*fixturePart, 2), fixturePart, nil)
	kept, _ := f.mail(0, "kept\r\n")
	f.bury("refused")
	d := New(f.nc)
	if err := d.Drop(t.Context(), envelopeText(env)); err != nil {
		t.Fatal(err)
	}
	if dead := f.dead(); len(dead) != 1 || dead[0].ID != kept || f.state(stream.DeadStream).Msgs != 1 {
		t.Errorf("%d dead letters, %d messages", len(dead), f.state(stream.DeadStream).Msgs)
	}
	if err := d.Drop(t.Context(), envelopeText(env)); !errors.Is(err, ErrNotFound) {
		t.Errorf("dropping it again: %v", err)
	}
}

func TestDamagedMailIsADeadLetterWithWhatIsLeft(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	raw := fixtureBytes(4*fixturePart, 2)
	env, seq := f.large(0, raw, fixturePart, nil)
	s, err := f.js.Stream(f.ctx(), stream.StreamName(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteMsg(f.ctx(), seq-2); err != nil {
		t.Fatal(err)
	}
	f.worker(WorkerConfig{Letters: true}, HandlerFunc(func(_ context.Context, b []*stream.Message) []Verdict {
		verdicts := make([]Verdict, len(b))
		for i, m := range b {
			verdicts[i] = Done()
			if _, err := readAll(t, m); errors.Is(err, stream.ErrDamaged) {
				verdicts[i] = Dead(err.Error())
			}
		}
		return verdicts
	}))
	eventually(t, "the dead letter", func() bool { return f.settled() && len(f.dead()) == 1 })
	got, err := New(f.nc).Get(t.Context(), envelopeText(env))
	if err != nil {
		t.Fatal(err)
	}
	for i := range env.Parts {
		r, err := got.Message.log.sequence(t.Context(), stream.DeadStream, got.Message.partSequence(i))
		if err != nil {
			t.Fatal(err)
		}
		if missing := r.header.Get(stream.DeadMissingHeader) != ""; missing != (i == 2) || (!missing && string(r.data) != string(raw[i*fixturePart:(i+1)*fixturePart])) {
			t.Errorf("part %d: missing %v, %d bytes", i, missing, len(r.data))
		}
	}
}

// The answer to the first dead copy is lost: the worker writes another rather than trusting luck, and the
// operator still sees and removes one dead letter.
func TestDoubleDeadCopyIsHandledAsOne(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	id, seq := f.mail(0, "bad\r\n")
	lost := nats.NewMsg(stream.DeadSubject)
	lost.Header.Set(stream.IDHeader, fmt.Sprintf("dead/MAIL_0/%d", seq))
	lost.Header.Set(stream.DeadIDHeader, id.String())
	f.send(lost)
	f.bury("refused")
	d := New(f.nc)
	got, err := d.Get(t.Context(), id.String())
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "the newest copy", got.Message.Raw, []byte("bad\r\n"))
	if err := d.Drop(t.Context(), id.String()); err != nil {
		t.Fatal(err)
	}
	if n := f.state(stream.DeadStream).Msgs; n != 0 {
		t.Errorf("%d messages remain", n)
	}
}

func TestAnnouncementsOfStoredMail(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	var got atomic.Int64
	mails := make([]stream.StoredMail, 20_000)
	for i := range mails {
		id, _ := envelopeID(fixtureEnvelope(nil))
		mails[i] = stream.StoredMail{ID: id, Mailboxes: []string{fmt.Sprintf("user%d@example.com", i), `"a b"@example.com`}}
	}
	sub, err := stream.SubscribeStored(f.nc, func(some []stream.StoredMail) {
		for _, m := range some {
			i := got.Add(1) - 1
			if m.ID != mails[i].ID || len(m.Mailboxes) != 2 || m.Mailboxes[0] != mails[i].Mailboxes[0] || m.Mailboxes[1] != mails[i].Mailboxes[1] {
				t.Errorf("announcement %d is %+v", i, m)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := f.nc.Publish(StoredSubject(3), []byte("not ours")); err != nil {
		t.Fatal(err)
	}
	if err := stream.PublishStored(f.nc, 3, mails); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all announcements", func() bool { return got.Load() == int64(len(mails)) })
}
