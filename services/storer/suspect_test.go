package storer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/consume"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// fakeStore is a database. Each call takes a while, and then asks fails how it ends.
type fakeStore struct {
	fails  func(mail mailstore.Mail) error // for a probe: of the sender "probe"
	calls  int
	stored map[ulid.ULID]mailstore.Derived
}

func (f *fakeStore) PutBatch(ctx context.Context, mails []mailstore.Mail) (mailstore.Result, error) {
	f.calls++
	time.Sleep(5 * time.Millisecond)
	if ctx.Err() != nil {
		return mailstore.Result{}, &mailstore.Error{Class: mailstore.Reconnect, Err: ctx.Err()}
	}
	for _, m := range mails {
		if err := f.fails(m); err != nil {
			return mailstore.Result{}, err
		}
	}
	for _, m := range mails {
		f.stored[m.ID] = m.Derived
	}
	return mailstore.Result{New: len(mails)}, nil
}

func (f *fakeStore) PutOne(ctx context.Context, mail mailstore.Mail) (mailstore.Result, error) {
	mail.Derived = mailstore.Derived{}
	return f.PutBatch(ctx, []mailstore.Mail{mail})
}

func (f *fakeStore) Probe(ctx context.Context) error {
	f.calls++
	time.Sleep(5 * time.Millisecond)
	return f.fails(mailstore.Mail{Sender: "probe"})
}

func newMessage(sender string) *stream.Message {
	raw := []byte("Subject: from " + sender + "\r\n\r\nbody\r\n")
	id, sum := ulid.Make(), sha256.Sum256(raw)
	return &stream.Message{ID: id, Raw: raw, Envelope: &mailv1.Envelope{
		Id: id[:], ReceivedAt: int64(id.Time()), MailFrom: sender, Size: uint64(len(raw)), Sha256: sum[:],
		Recipients: []*mailv1.Recipient{{Mailbox: "u@example.com"}},
	}}
}

// outcome is what became of a batch.
type outcome struct{ done, again, dead []string }

// handle handles a batch, one mail of each sender, and says what became of the senders' mails.
func handle(ctx context.Context, f *fakeStore, senders ...string) (o outcome) {
	f.stored = make(map[ulid.ULID]mailstore.Derived)
	batch := make([]*stream.Message, len(senders))
	for i, sender := range senders {
		batch[i] = newMessage(sender)
	}
	h := &handler{store: f, logger: slog.New(slog.DiscardHandler), totals: new(totals)}
	for i, v := range h.Handle(ctx, batch) {
		_, stored := f.stored[batch[i].ID]
		switch {
		case v == consume.Done() && stored:
			o.done = append(o.done, senders[i])
		case strings.Contains(fmt.Sprint(v), "the database refuses the mail"):
			o.dead = append(o.dead, senders[i])
		default:
			o.again = append(o.again, senders[i])
		}
	}
	return o
}

var errNew = errors.New("number 31999, for which no class is known") // its class is mailstore.Unknown

// senders is the senders of a batch of n good mails and one whose sender is "bad".
func senders(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("good%d", i)
	}
	return slices.Insert(all, n/2, "bad")
}

func about(m mailstore.Mail, guilty bool) error {
	if guilty && m.Sender == "bad" {
		return errNew
	}
	return nil
}

func TestUnclearErrorOfOneMailBuriesThatMailOnly(t *testing.T) {
	for name, batch := range map[string][]string{"among others": senders(63), "the only mail": {"bad"}} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			f := &fakeStore{fails: func(m mailstore.Mail) error { return about(m, true) }}
			o := handle(t.Context(), f, batch...)
			if len(o.done) != len(batch)-1 || len(o.dead) != 1 || o.dead[0] != "bad" {
				t.Errorf("%s: %+v", name, o)
			}
			for id, derived := range f.stored {
				if derived.Subject == "" {
					t.Errorf("%s: a good mail, %s, is stored without its derived columns", name, id)
				}
			}
			if took := time.Since(start); took > 15*time.Second {
				t.Errorf("%s: it took %v to find out", name, took)
			}
		})
	}
}

func TestUnclearErrorOfDerivedColumnsStoresWithoutThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStore{fails: func(m mailstore.Mail) error { return about(m, m.Derived.Subject != "") }}
		if o := handle(t.Context(), f, senders(20)...); len(o.done) != 21 {
			t.Errorf("%+v", o)
		}
	})
	synctest.Test(t, func(t *testing.T) { // refused for a known reason first
		f := &fakeStore{fails: func(m mailstore.Mail) error {
			if m.Sender == "bad" && m.Derived.Subject != "" {
				return &mailstore.Error{Class: mailstore.Data, Err: errNew}
			}
			return about(m, true)
		}}
		if o := handle(t.Context(), f, senders(20)...); len(o.done) != 20 || len(o.dead) != 1 {
			t.Errorf("%+v", o)
		}
	})
}

// A state of the server buries nothing, whenever it begins, and whether it stays or comes and goes.
func TestUnclearStateOfTheWorldBuriesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStore{fails: func(mailstore.Mail) error { return errNew }}
		if o := handle(t.Context(), f, senders(63)...); len(o.again) != 64 || f.calls != 2 {
			t.Errorf("after %d calls: %+v", f.calls, o)
		}
	})
	for after := range 40 { // calls before it begins, with and without a mail that is at fault
		for _, guilty := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				var f *fakeStore
				f = &fakeStore{fails: func(m mailstore.Mail) error {
					if f.calls > after {
						return errNew
					}
					return about(m, guilty)
				}}
				if o := handle(t.Context(), f, senders(15)...); len(o.dead) > 0 && (!guilty || !slices.Equal(o.dead, []string{"bad"})) {
					t.Errorf("a state that begins after %d calls: %+v", after, o)
				}
			})
		}
	}
	for _, period := range []time.Duration{20 * time.Millisecond, 300 * time.Millisecond, time.Second, 3 * time.Second, 5 * time.Second} {
		for phase := range 10 {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now().Add(-period * time.Duration(phase) / 5)
				f := &fakeStore{fails: func(mailstore.Mail) error {
					if time.Since(start)/period%2 == 0 {
						return errNew
					}
					return nil
				}}
				if o := handle(t.Context(), f, senders(63)...); len(o.dead) > 0 {
					t.Errorf("a state that comes and goes every %v: %+v", period, o)
				}
			})
		}
	}
}

// A storer that stops does not wait for trials, and gives the suspects back.
func TestStoppingEndsTrials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		o := handle(ctx, &fakeStore{fails: func(m mailstore.Mail) error { return about(m, true) }}, senders(20)...)
		if len(o.done) != 20 || len(o.again) != 1 || time.Since(start) > 2*time.Second {
			t.Errorf("after %v: %+v", time.Since(start), o)
		}
	})
}
