package audit

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/tombstone"
)

// Digests save work and change nothing: whatever is wrong, an audit that uses them finds the same as one that reads each envelope.
func TestDigestsChangeNoResult(t *testing.T) {
	decoded, wrong := 0, int64(0)
	for seed := range uint64(36) {
		random := rand.New(rand.NewPCG(seed, 17))
		w := newWorld(1 + random.IntN(3))
		w.per = 2 + random.IntN(12)
		mails, rare := 500+random.IntN(2000), 20+random.IntN(3000)
		if seed%12 == 0 { // enough for a search by halves
			mails, rare = 6*compareMails/2, 20_000
		}
		const kinds = 9
		only := int(seed) % (2 * kinds) // half of the worlds have all kinds of damage
		spoil(w, random, mails, rare, func() int {
			if only < kinds {
				return only
			}
			return random.IntN(kinds)
		})
		options := []Options{{}, {SkipLists: true}, {Deep: true}, {Retention: 24 * time.Hour}, {Since: w.clock.Add(-time.Duration(random.IntN(30)) * time.Second)}}
		for _, o := range options {
			w.plain = true
			want := w.audit(t, o)
			w.plain = false
			got := w.audit(t, o)
			if len(want.NotKnown) > 0 {
				t.Fatalf("seed %d: %v", seed, want.NotKnown)
			}
			wrong += want.Unaccounted()
			decoded++
			if a, b := normal(got), normal(want); a != b {
				t.Fatalf("seed %d, %+v:\ngot  %s\nwant %s", seed, o, a, b)
			}
		}
	}
	if wrong == 0 || decoded == 0 {
		t.Error("nothing was wrong anywhere: the test shows nothing")
	}
}

// A restored database lacks much, and packs lie between messages that are none: reading begins anew for a window, not for a pack.
func TestManyPacksAreReadInFewPieces(t *testing.T) {
	w := newWorld(2)
	w.per = 3
	const mails = 30_000
	for i := range mails {
		w.accept(i%2, i%10 > 7)
	}
	if r := w.audit(t, Options{}); r.Mails != mails || r.Missing != mails*8/10 {
		t.Errorf("%+v", r)
	}
	if w.reads > 20 {
		t.Errorf("reading began %d times for %d packs", w.reads, mails/3)
	}
}

// losing is a world whose log loses a message between two readings.
type losing struct {
	*world
	lost stream.Bounds
}

func (l losing) Outlines(ctx context.Context, b stream.Bounds, fn func(*stream.Outline) error) error {
	l.holes = []stream.Bounds{l.lost}
	return l.world.Outlines(ctx, b, fn)
}

// A message that is gone when its mails are to be read is a gap.
func TestAPackThatIsLostMeanwhileIsNamed(t *testing.T) {
	w := newWorld(1)
	w.per = 4
	for i := range 400 {
		w.accept(0, i != 50) // one is missing, so that the packs are decoded
	}
	l := losing{w, stream.Bounds{From: 20, To: 20}}
	r, err := Run(t.Context(), Sources{l, w, w, stones{w}}, Options{})
	if err != nil || r.Missing != 1 || len(r.Gaps) != 1 || r.Gaps[0].From != 20 || r.Gaps[0].To != 20 {
		t.Errorf("%+v %v", r, err)
	}
}

// Nothing else differs: an audit of every byte reads the bytes of mail in packs too.
func TestDamagedMailInAPackIsFound(t *testing.T) {
	w := newWorld(2)
	w.per = 5
	for i := range 300 {
		w.damaged[w.accept(i%2, true)] = i == 100
	}
	for deep, want := range map[bool]int64{false: 0, true: 1} {
		if r := w.audit(t, Options{Deep: deep}); r.Wrong != want || r.Stored != 300-want {
			t.Errorf("deep %v: %+v", deep, r)
		}
	}
}

// normal is a report without the order in which it was found.
func normal(r Report) string {
	r.last = ulid.ULID{}
	slices.SortFunc(r.Problems, func(a, b Problem) int { return cmp.Or(a.ID.Compare(b.ID), cmp.Compare(a.What, b.What)) })
	if len(r.Problems) == maxProblems { // which of them are named depends on the order
		r.Problems = nil
	}
	return fmt.Sprintf("%+v", r)
}

// spoil fills a world with mail, one in rare of which has met with something of a kind.
func spoil(w *world, random *rand.Rand, mails, rare int, kind func() int) {
	var all []ulid.ULID
	for range mails {
		shard := random.IntN(len(w.shards))
		id := w.accept(shard, true)
		all = append(all, id)
		if random.IntN(rare) > 0 {
			continue
		}
		row := w.rows[id]
		switch kind() {
		case 0:
			delete(w.rows, id)
		case 1:
			row.Size++
			w.rows[id] = row
		case 2:
			row.SHA256[5]++
			w.rows[id] = row
		case 3:
			row.Erased = true
			w.rows[id] = row
		case 4:
			w.unlisted[mailstore.Line{Mbox: mailstore.Mbox("b@example.com"), ID: id}] = true
		case 5:
			w.damaged[id] = true
		case 6:
			delete(w.rows, id)
			w.letters = append(w.letters, id)
		case 7:
			delete(w.rows, id)
			w.stones[id] = tombstone.Stone{What: tombstone.Accepted}
		case 8: // a copy, long after it
			w.publish(random.IntN(len(w.shards)), all[random.IntN(len(all))])
		}
	}
	for shard := range w.shards {
		w.settled[shard] = w.last(shard)
		if w.last(shard) == 0 {
			continue
		}
		if random.IntN(3) == 0 {
			w.first[shard] += uint64(random.IntN(int(w.last(shard))))
		}
		if random.IntN(3) == 0 {
			at := 1 + uint64(random.IntN(int(w.last(shard))))
			w.holes = append(w.holes, stream.Bounds{Shard: shard, From: at, To: at})
		}
		if random.IntN(2) == 0 { // the newest is not settled yet, and some of it is not stored
			w.settled[shard] -= min(w.settled[shard], uint64(random.IntN(20)))
			for _, h := range w.heads(stream.Bounds{Shard: shard, From: w.settled[shard] + 1, To: w.last(shard)}) {
				if random.IntN(2) == 0 {
					delete(w.rows, h.ID)
				}
			}
		}
	}
}
