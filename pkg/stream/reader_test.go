package stream_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/record"
	"github.com/sluice-mail/sluice/pkg/stream/internal/streamtest"
)

// onlyShard is all that a log of one shard has now.
func onlyShard(t *testing.T, r *stream.Reader) stream.Bounds {
	t.Helper()
	all, err := r.Snapshot(t.Context(), time.Time{})
	if err != nil || len(all) != 1 {
		t.Fatalf("snapshot %v: %v", all, err)
	}
	return all[0]
}

func TestReaderGivesEveryHeadInOrder(t *testing.T) {
	f := streamtest.New(t, 256<<20)
	ids, _ := f.Mails(0, 2*record.WalkBatch+7)
	env, _ := f.Large(0, streamtest.Bytes(4*streamtest.PartBytes, 1))
	ids = append(ids, streamtest.ID(env))
	more, _ := f.Mails(0, 5)
	ids = append(ids, more...)
	bad := f.Head(0, streamtest.Envelope(nil), nil)
	bad.Header.Set(stream.EnvelopeHeader, "?")
	f.Send(bad)
	r := stream.NewReader(f.NC)
	bounds := onlyShard(t, r)
	f.Mails(0, 3) // after the snapshot
	var got []stream.Head
	if err := r.Heads(t.Context(), bounds, func(h stream.Head) error { got = append(got, h); return nil }); err != nil {
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
	if left := f.Traces(0); len(left) != 0 {
		t.Errorf("left in the log: %v", left)
	}
}

// A pack is one digest, everything else is as it is.
func TestDigestsOfALog(t *testing.T) {
	f := streamtest.New(t, 256<<20)
	f.Mails(0, 3)
	f.Pack(0, "one", "two", "three")
	f.Large(0, streamtest.Bytes(4*streamtest.PartBytes, 1))
	f.SpoiltPack(0, 1, "four", "five")
	bad := f.Head(0, streamtest.Envelope(nil), nil)
	bad.Header.Set(stream.EnvelopeHeader, "?")
	f.Send(bad)
	r := stream.NewReader(f.NC)
	bounds := onlyShard(t, r)
	var got []string
	mails, packs := int64(0), make(map[uint64]stream.Digest)
	if err := r.Digests(t.Context(), bounds, func(o *stream.Outline) error {
		switch {
		case o.Err != nil:
			got = append(got, "bad")
		case o.Digest.Mails > 0:
			packs[o.Sequence] = o.Digest
			mails += o.Digest.Mails
			got = append(got, "pack")
		default:
			mails++
			got = append(got, "mail")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"mail", "mail", "mail", "pack", "mail", "pack", "bad"}; !slices.Equal(got, want) || mails != 9 {
		t.Errorf("%v with %d mails, want %v with 9", got, mails, want)
	}
	if err := r.Heads(t.Context(), bounds, func(h stream.Head) error {
		if d := packs[h.Sequence]; h.Err == nil && d.Mails > 0 && (h.ID.Compare(d.First) < 0 || h.ID.Compare(d.Last) > 0 || int64(h.Of) != d.Mails) {
			t.Errorf("mail %d of %d, %s, is not in %+v", h.Index, h.Of, h.ID, d)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestReaderStopsWithItsUser(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	f.Mails(0, 50)
	enough := errors.New("enough")
	n := 0
	err := stream.NewReader(f.NC).Heads(t.Context(), stream.Bounds{From: 11, To: 50}, func(stream.Head) error {
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
	f := streamtest.New(t, 64<<20)
	f.Mails(0, 20)
	s, err := f.JS.Stream(f.Context(), "MAIL_0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(f.Context(), jetstream.WithPurgeSequence(11)); err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := stream.NewReader(f.NC).Heads(t.Context(), stream.Bounds{From: 1, To: 20}, func(stream.Head) error { n++; return nil }); err != nil || n != 10 {
		t.Errorf("%d heads, error %v", n, err)
	}
}

// The consumer of a walk vanishes while it is used (a restart of the log): nothing is missed, nothing twice.
func TestReaderSurvivesTheLossOfItsConsumer(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	const mails = 3 * record.WalkBatch
	f.Mails(0, mails)
	n, last := 0, uint64(0)
	err := stream.NewReader(f.NC).Heads(t.Context(), stream.Bounds{From: 1, To: mails}, func(h stream.Head) error {
		n++
		if h.Sequence != last+1 {
			t.Fatalf("sequence %d after %d", h.Sequence, last)
		}
		last = h.Sequence
		if n == 10 || n == record.WalkBatch+10 {
			for _, name := range f.Traces(0) {
				if err := f.JS.DeleteConsumer(f.Context(), "MAIL_0", name); err != nil {
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

// BenchmarkHeads is the log read for an audit.
func BenchmarkHeads(b *testing.B) {
	f := streamtest.New(b, 2<<30)
	f.Fill(b.N, 4096)
	b.ResetTimer()
	n := 0
	err := stream.NewReader(f.NC).Heads(b.Context(), stream.Bounds{From: 1, To: uint64(b.N)}, func(stream.Head) error { n++; return nil })
	if err != nil || n != b.N {
		b.Fatalf("%d heads of %d: %v", n, b.N, err)
	}
}

func TestReaderFindsTheGaps(t *testing.T) {
	f := streamtest.New(t, 256<<20)
	f.Mails(0, 3)
	_, large := f.Large(0, streamtest.Bytes(4*streamtest.PartBytes, 1))
	_, last := f.Mails(0, 10)
	r, all := stream.NewReader(f.NC), stream.Bounds{From: 1, To: last}
	if gaps, err := r.Gaps(t.Context(), all); err != nil || len(gaps) != 0 {
		t.Fatalf("a whole log has the gaps %v (%v)", gaps, err)
	}
	for _, seq := range []uint64{1, large - 2, large + 3, large + 4, last} {
		if err := f.Stream("MAIL_0").DeleteMsg(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	gaps, err := r.Gaps(t.Context(), all)
	want := []stream.Bounds{{From: large - 2, To: large - 2}, {From: large + 3, To: large + 4}, {From: last, To: last}}
	if err != nil || len(gaps) != len(want) {
		t.Fatalf("%v (%v), want %v: the log begins at 2 now, what is before it counts as purged", gaps, err, want)
	}
	for i := range want {
		if gaps[i] != want[i] {
			t.Errorf("%v, want %v", gaps[i], want[i])
		}
	}
}
