package dead_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

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

// bury makes dead letters of everything in the log and stops again.
func bury(t *testing.T, f *streamtest.Fixture, reason string) {
	t.Helper()
	_, stop := f.Worker(consume.Config{Grave: dead.New(f.NC)}, streamtest.NewRecorder(func(*stream.Message) consume.Verdict { return consume.Dead(reason) }))
	streamtest.Eventually(t, "the dead letters", f.Settled)
	stop()
}

func TestLargeDeadLetterKeepsItsBytesAndComesBack(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	raw := streamtest.Bytes(7*streamtest.PartBytes+1, 1)
	env, _ := f.Large(0, raw)
	bury(t, f, "refused")
	d := dead.New(f.NC)
	got, err := d.Get(t.Context(), streamtest.ID(env).String())
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := streamtest.ReadAll(t, got.Message)
	if err != nil {
		t.Fatal(err)
	}
	streamtest.Equal(t, "the dead letter", bytes, raw)

	rec := streamtest.NewRecorder(nil)
	f.Worker(consume.Config{Grave: dead.New(f.NC)}, rec)
	if err := d.Retry(f.Context(), streamtest.ID(env).String()); err != nil {
		t.Fatal(err)
	}
	if rec.Count(got.ID) != 1 {
		t.Fatalf("stored %d times", rec.Count(got.ID))
	}
	bytes, err = streamtest.ReadAll(t, rec.Seen(got.ID)[0])
	if err != nil {
		t.Fatal(err)
	}
	streamtest.Equal(t, "the retried mail", bytes, raw)
	if st := f.State(stream.DeadStream); st.Msgs != 0 {
		t.Errorf("%d messages remain in %s", st.Msgs, stream.DeadStream)
	}
}

func TestDeadLetterStaysUntilItsRetryIsStored(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	id, _ := f.Mail(0, "bad\r\n")
	bury(t, f, "refused")
	d := dead.New(f.NC)
	d.PollEvery(5 * time.Millisecond)

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond) // nobody consumes
	defer cancel()
	if err := d.Retry(ctx, id.String()); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("retry without a storer: %v", err)
	}
	if len(letters(t, f)) != 1 {
		t.Fatal("the dead letter is gone although nothing stored the mail")
	}

	commit := make(chan struct{})
	rec := streamtest.NewRecorder(func(*stream.Message) consume.Verdict { <-commit; return consume.Done() })
	f.Worker(consume.Config{Grave: dead.New(f.NC)}, rec)
	retried := make(chan error, 1)
	go func() { retried <- d.Retry(f.Context(), id.String()) }()
	streamtest.Eventually(t, "the mail in the storer's hands", func() bool { return f.Info(0, stream.Storer).NumAckPending > 0 })
	if len(letters(t, f)) != 1 {
		t.Error("the dead letter is gone before the commit")
	}
	close(commit)
	if err := <-retried; err != nil {
		t.Fatal(err)
	}
	if len(letters(t, f)) != 0 || rec.Count(id) == 0 {
		t.Errorf("%d dead letters, stored %d times", len(letters(t, f)), rec.Count(id))
	}
}

func TestRetriedMailThatDiesAgainIsOneDeadLetter(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	id, _ := f.Mail(0, "bad\r\n")
	f.Worker(consume.Config{Grave: dead.New(f.NC)}, streamtest.NewRecorder(func(*stream.Message) consume.Verdict { return consume.Dead("still refused") }))
	streamtest.Eventually(t, "the dead letter", func() bool { return f.Settled() && len(letters(t, f)) == 1 })
	d := dead.New(f.NC)
	for n := 1; n <= 3; n++ {
		if err := d.Retry(f.Context(), id.String()); err != nil {
			t.Fatal(err)
		}
		buried := letters(t, f)
		if len(buried) != 1 || buried[0].Retries != n {
			t.Fatalf("after retry %d: %+v", n, buried)
		}
	}
}

func TestRetryAll(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	const mails = dead.RetryAtOnce + 20
	for i := range mails {
		f.Mail(0, fmt.Sprintf("mail %d\r\n", i))
	}
	f.Large(0, streamtest.Bytes(3*streamtest.PartBytes, 2))
	bury(t, f, "refused")
	if got := len(letters(t, f)); got != mails+1 {
		t.Fatalf("%d dead letters", got)
	}
	rec := streamtest.NewRecorder(nil)
	f.Worker(consume.Config{Grave: dead.New(f.NC)}, rec)
	n, err := dead.New(f.NC).RetryAll(f.Context())
	if err != nil || n != mails+1 {
		t.Fatalf("retried %d: %v", n, err)
	}
	if rec.Total() != mails+1 || f.State(stream.DeadStream).Msgs != 0 {
		t.Errorf("%d stored, %d messages remain dead", rec.Total(), f.State(stream.DeadStream).Msgs)
	}
}

func TestDropRemovesTheWholeMail(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	env, _ := f.Large(0, streamtest.Bytes(3*streamtest.PartBytes, 2))
	kept, _ := f.Mail(0, "kept\r\n")
	bury(t, f, "refused")
	d := dead.New(f.NC)
	if err := d.Drop(t.Context(), streamtest.ID(env).String(), "me", "spam"); err != nil {
		t.Fatal(err)
	}
	if buried := letters(t, f); len(buried) != 1 || buried[0].ID != kept || f.State(stream.DeadStream).Msgs != 1 {
		t.Errorf("%d dead letters, %d messages", len(buried), f.State(stream.DeadStream).Msgs)
	}
	if err := d.Drop(t.Context(), streamtest.ID(env).String(), "me", "spam"); !errors.Is(err, dead.ErrNotFound) {
		t.Errorf("dropping it again: %v", err)
	}
}

func TestDamagedMailIsADeadLetterWithWhatIsLeft(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	raw := streamtest.Bytes(4*streamtest.PartBytes, 2)
	env, seq := f.Large(0, raw)
	s, err := f.JS.Stream(f.Context(), stream.StreamName(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteMsg(f.Context(), seq-2); err != nil {
		t.Fatal(err)
	}
	f.Worker(consume.Config{Grave: dead.New(f.NC)}, consume.HandlerFunc(func(_ context.Context, b []*stream.Message) []consume.Verdict {
		verdicts := make([]consume.Verdict, len(b))
		for i, m := range b {
			verdicts[i] = consume.Done()
			if _, err := streamtest.ReadAll(t, m); errors.Is(err, stream.ErrDamaged) {
				verdicts[i] = consume.Dead(err.Error())
			}
		}
		return verdicts
	}))
	streamtest.Eventually(t, "the dead letter", func() bool { return f.Settled() && len(letters(t, f)) == 1 })
	got, err := dead.New(f.NC).Get(t.Context(), streamtest.ID(env).String())
	if err != nil {
		t.Fatal(err)
	}
	for i := range env.Parts {
		part, err := got.Message.Part(t.Context(), i, "copy")
		if err != nil {
			t.Fatal(err)
		}
		if missing := part.Header.Get(stream.DeadMissingHeader) != ""; missing != (i == 2) || (!missing && string(part.Data) != string(raw[i*streamtest.PartBytes:(i+1)*streamtest.PartBytes])) {
			t.Errorf("part %d: missing %v, %d bytes", i, missing, len(part.Data))
		}
	}
}

// The answer to the first dead copy is lost: the worker writes another rather than trusting luck, and the
// operator still sees and removes one dead letter.
func TestDoubleDeadCopyIsHandledAsOne(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	id, seq := f.Mail(0, "bad\r\n")
	lost := nats.NewMsg(stream.DeadSubject)
	lost.Header.Set(stream.IDHeader, fmt.Sprintf("dead/MAIL_0/%d", seq))
	lost.Header.Set(stream.DeadIDHeader, id.String())
	f.Send(lost)
	bury(t, f, "refused")
	d := dead.New(f.NC)
	got, err := d.Get(t.Context(), id.String())
	if err != nil {
		t.Fatal(err)
	}
	streamtest.Equal(t, "the newest copy", got.Message.Raw, []byte("bad\r\n"))
	if err := d.Drop(t.Context(), id.String(), "me", "spam"); err != nil {
		t.Fatal(err)
	}
	if n := f.State(stream.DeadStream).Msgs; n != 0 {
		t.Errorf("%d messages remain", n)
	}
}
