package audit

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/audit/internal/recall"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
)

// testMails make a step in these tests.
const testMails = 1000

func newMemory() *recall.Memory {
	m := new(recall.Memory)
	m.Begin(nil)
	return m
}

// remembered is a world one pass has been over, and what it remembers.
func remembered(t *testing.T, w *world, memory *recall.Memory) *ahead {
	t.Helper()
	next := make(map[int]recall.Position)
	var bounds []stream.Bounds
	for shard := range w.shards {
		at := memory.Next[shard].Sequence
		next[shard] = recall.Position{Created: w.created, Sequence: max(at, 1)}
		bounds = append(bounds, stream.Bounds{Shard: shard, From: max(at, 1), To: w.settled[shard]})
		w.sealed[shard] = w.settled[shard]
	}
	memory.Lock()
	defer memory.Unlock()
	memory.Follow(next)
	a := &ahead{Memory: memory, size: testMails, auditor: auditor{Sources: w.sources(), started: time.Now()}}
	if silent, err := a.run(t.Context(), bounds); err != nil || len(silent) > 0 {
		t.Fatal(silent, err)
	}
	return a
}

// recalled is up to where a shard may be purged without being read.
func recalled(t *testing.T, w *world, m *recall.Memory, shard int, from uint64) (mails int64, upTo uint64) {
	t.Helper()
	found, upTo, err := m.Recall(t.Context(), w, stream.Bounds{Shard: shard, From: from, To: w.settled[shard]})
	if err != nil {
		t.Fatal(err)
	}
	return found.Mails, upTo
}

// All is well: mail that was audited is found again by sums alone, but for the newest.
func TestWhatWasAuditedIsNotReadAgainBeforeItsPurge(t *testing.T) {
	w, m := newWorld(2), newMemory()
	const mails = 8 * testMails
	for i := range mails {
		w.accept(i%2, true)
	}
	if a := remembered(t, w, m); a.report.Mails != mails || a.report.Stored != mails {
		t.Errorf("%+v", a.report)
	}
	for range mails {
		w.accept(0, true)
	}
	remembered(t, w, m)
	for shard := range w.shards {
		from := m.Steps[shard][1].From // the first has mail like which there may be more in the database
		n, upTo := recalled(t, w, m, shard, from)
		if want := w.settled[shard] - from - 2*testMails; upTo < from+want || n != int64(upTo-from+1) {
			t.Errorf("shard %d: of %d messages %d mails are remembered up to %d, want about %d", shard, w.settled[shard], n, upTo, want)
		}
		if to := m.Strange(stream.Bounds{Shard: shard, From: 1, To: mails}); to != from-1 {
			t.Errorf("shard %d is to be read up to %d, want %d", shard, to, from-1)
		}
	}
}

// Whatever happens to mail before and after it was audited: what is remembered as stored is stored.
func TestMailThatIsGoneIsNeverRemembered(t *testing.T) {
	covered, sequences := 0, 0
	for seed := range uint64(12) {
		random := rand.New(rand.NewPCG(seed, seed))
		w, m := newWorld(1+int(seed%2)), newMemory()
		w.per = 1 + int(seed/2%3)*4
		var all []ulid.ULID
		skew := time.Duration(random.IntN(3)) * time.Second
		for range 2 + random.IntN(3) {
			for range testMails * (1 + random.IntN(3)) {
				shard := random.IntN(len(w.shards))
				id := w.accept(shard, random.IntN(3000) > 0)
				all = append(all, id)
				switch random.IntN(6000) {
				case 0: // a copy, or a dead letter that was retried
					w.publish(random.IntN(len(w.shards)), all[random.IntN(len(all))])
				case 1: // by a clock that is off
					late := mailstore.IDAt(w.clock.Add(skew - time.Duration(random.IntN(5))*time.Second))
					_ = late.SetEntropy(fmt.Append(nil, random.Uint64())[:10])
					w.publish(shard, late)
					w.rows[late] = mailstore.Row{ID: late, Size: 100, SHA256: shaOf(late)}
				case 2: // deleted by its readers
					if row, stored := w.rows[id]; stored {
						row.Erased = true
						w.rows[id] = row
					}
				case 3: // stored, and read only later
					id := mailstore.IDAt(w.clock)
					_ = id.SetEntropy(fmt.Append(nil, random.Uint64())[:10])
					w.rows[id] = mailstore.Row{ID: id, Size: 100, SHA256: shaOf(id)}
				}
			}
			for shard := range w.shards {
				w.settled[shard] = w.last(shard)
			}
			remembered(t, w, m)
		}
		for range random.IntN(4) { // it is lost after that
			delete(w.rows, all[random.IntN(len(all))])
		}
		for shard, heads := range w.shards {
			for from := uint64(1); from <= w.settled[shard]; {
				_, upTo := recalled(t, w, m, shard, from)
				for _, h := range w.heads(stream.Bounds{Shard: shard, From: from, To: upTo}) {
					covered++
					if _, stored := w.rows[h.ID]; !stored {
						t.Fatalf("seed %d: shard %d sequence %d is remembered as stored, and is not", seed, shard, h.Sequence)
					}
				}
				if from = upTo + 1; from <= w.settled[shard] {
					from = m.Strange(stream.Bounds{Shard: shard, From: from, To: w.settled[shard]}) + 1
				}
			}
			sequences += len(heads)
		}
	}
	if covered < sequences/10 {
		t.Errorf("of %d messages only %d were remembered: the test shows nothing", sequences, covered)
	}
}

// A stream that was made again has other mail at the same sequences.
func TestNothingIsRememberedOfAStreamThatWasMadeAgain(t *testing.T) {
	w, m := newWorld(1), newMemory()
	for range 3 * testMails {
		w.accept(0, true)
	}
	remembered(t, w, m)
	old := w.last(0)
	w.created = w.created.Add(time.Hour)
	w.accept(0, true)
	remembered(t, w, m)
	if steps := m.Steps[0]; len(steps) != 1 || steps[0].From != old+1 {
		t.Errorf("%d steps are remembered, the first from %d on", len(steps), steps[0].From)
	}
}

// What is purged is forgotten, but for ranges that mail behind it is in.
func TestWhatIsPurgedIsForgotten(t *testing.T) {
	w, m := newWorld(1), newMemory()
	for range 6 * testMails {
		w.accept(0, true)
	}
	remembered(t, w, m)
	steps, ranges := slices.Clone(m.Steps[0]), len(m.Closed)
	m.Purged(0, steps[2].To)
	if len(m.Steps[0]) != len(steps)-3 || len(m.Closed) >= ranges {
		t.Errorf("%d of %d steps and %d of %d ranges are left", len(m.Steps[0]), len(steps), len(m.Closed), ranges)
	}
	if _, upTo := recalled(t, w, m, 0, steps[3].From); upTo < steps[3].To {
		t.Errorf("remembered from %d up to %d", steps[3].From, upTo)
	}
}
