package stream

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
)

func TestReaderGivesEveryHeadInOrder(t *testing.T) {
	f := newLogFixture(t, 256<<20)
	ids, _ := f.mails(0, 2*walkBatch+7)
	env, _ := f.large(0, fixtureBytes(4*fixturePart, 1), fixturePart, nil)
	ids = append(ids, mustID(env))
	more, _ := f.mails(0, 5)
	ids = append(ids, more...)
	bad := f.headMsg(0, fixtureEnvelope(nil), nil)
	bad.Header.Set(EnvelopeHeader, "?")
	f.send(bad)
	r := NewReader(f.nc)
	bounds, err := r.Snapshot(t.Context(), time.Time{})
	if err != nil || len(bounds) != 1 {
		t.Fatalf("snapshot %v: %v", bounds, err)
	}
	f.mails(0, 3) // after the snapshot
	var got []Head
	if err := r.Heads(t.Context(), bounds[0], func(h Head) error { got = append(got, h); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != len(ids)+1 {
		t.Fatalf("%d heads, want %d", len(got), len(ids)+1)
	}
	for i, id := range ids {
		if got[i].ID != id || got[i].Err != nil || (i > 0 && got[i].Sequence <= got[i-1].Sequence) || got[i].Envelope.GetMailFrom() != "a@b.example" {
			t.Fatalf("head %d is %+v", i, got[i])
		}
	}
	if last := got[len(ids)]; last.Err == nil || last.ID != (ulid.ULID{}) {
		t.Errorf("the unreadable head is %+v", last)
	}
	if left := f.traces(0); len(left) != 0 {
		t.Errorf("left in the log: %v", left)
	}
}

func TestReaderStopsWithItsUser(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	f.mails(0, 50)
	enough := errors.New("enough")
	n := 0
	err := NewReader(f.nc).Heads(t.Context(), Bounds{From: 11, To: 50}, func(Head) error {
		if n++; n == 7 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || n != 7 {
		t.Errorf("%d heads, error %v", n, err)
	}
}

func TestReaderPassesOverWhatIsPurgedMeanwhile(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	f.mails(0, 20)
	s, err := f.js.Stream(f.ctx(), "MAIL_0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(f.ctx(), jetstream.WithPurgeSequence(11)); err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := NewReader(f.nc).Heads(t.Context(), Bounds{From: 1, To: 20}, func(Head) error { n++; return nil }); err != nil || n != 10 {
		t.Errorf("%d heads, error %v", n, err)
	}
}

// The consumer of a walk vanishes while it is used (a restart of the log): nothing is missed, nothing twice.
func TestReaderSurvivesTheLossOfItsConsumer(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	const mails = 3 * walkBatch
	f.mails(0, mails)
	n, last := 0, uint64(0)
	err := NewReader(f.nc).Heads(t.Context(), Bounds{From: 1, To: mails}, func(h Head) error {
		n++
		if h.Sequence != last+1 {
			t.Fatalf("sequence %d after %d", h.Sequence, last)
		}
		last = h.Sequence
		if n == 10 || n == walkBatch+10 {
			for _, name := range f.traces(0) {
				if err := f.js.DeleteConsumer(f.ctx(), "MAIL_0", name); err != nil {
					t.Fatal(err)
				}
			}
		}
		return nil
	})
	if err != nil || n != mails {
		t.Errorf("%d of %d heads, error %v", n, mails, err)
	}
}
