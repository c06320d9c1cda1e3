package audit

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/audit/acks"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/tombstone"
)

// One flipped bit and a restart: the consumer passes the message over, and the stream says that it has all.
func TestAGapInTheLogIsNamed(t *testing.T) {
	w := newWorld(2)
	for i := range 600 {
		w.accept(i%2, true)
	}
	w.holes = []stream.Bounds{{Shard: 0, From: 1, To: 1}, {Shard: 0, From: 17, To: 19}, {Shard: 1, From: 300, To: 300}}
	for _, r := range []Report{w.audit(t, Options{}), w.audit(t, Options{Since: time.Now().Add(-24 * time.Hour)})} {
		if fmt.Sprint(r.Gaps) == "" || len(r.Gaps) != 3 || r.Unaccounted() != 5 {
			t.Fatalf("the gaps are %v, unaccounted %d", r.Gaps, r.Unaccounted())
		}
		if got := fmt.Sprint(r.Gaps); !strings.Contains(got, "MAIL_0:17-19") || !strings.Contains(got, "MAIL_1:300-300") {
			t.Errorf("the gaps are %v", r.Gaps)
		}
	}
	r, err := RunRange(t.Context(), w.sources(), "MAIL_0", 10, 20, Options{})
	if err != nil || r.Unaccounted() != 3 {
		t.Errorf("before a purge: %+v %v", r, err)
	}
	w.created = time.Now()
	w.excused = []tombstone.Gap{{Bounds: stream.Bounds{From: 17, To: 18}, Created: w.created}}
	if r, err = RunRange(t.Context(), w.sources(), "MAIL_0", 10, 20, Options{}); err != nil || r.Unaccounted() != 1 || r.Gaps[0].From != 19 {
		t.Errorf("with two of three accepted: %+v %v", r, err)
	}
	// The stream was made again, and has other messages there.
	w.created = w.created.Add(time.Hour)
	if r, err = RunRange(t.Context(), w.sources(), "MAIL_0", 10, 20, Options{}); err != nil || r.Unaccounted() != 3 {
		t.Errorf("what was accepted of an earlier stream covers a later loss: %+v %v", r, err)
	}
}

// gaps are what is lost of a shard and not accepted.
func (l *ledger) gaps(s stream.ShardState, accepted []tombstone.Gap) (gaps []Gap) {
	for _, lost := range l.losses(s.Shard, &s) {
		gaps = append(gaps, lost.without(accepted)...)
	}
	return gaps
}

func at(created time.Time, last uint64) stream.ShardState {
	return stream.ShardState{Created: created, First: 1, Last: last}
}

// With its index gone the last block is cut: the stream ends at 100, goes on from there, and looks as if nothing had happened.
func TestAShorterStreamIsRememberedUntilItsLossIsAccepted(t *testing.T) {
	made := time.Now().Add(-time.Hour)
	tally := Tally{Stream: "MAIL_0", Created: made}
	tally.look(at(made, 300), time.Now())
	l := &ledger{tallies: []Tally{tally}}
	if gaps := l.gaps(at(made, 300), nil); len(gaps) != 0 {
		t.Fatalf("a whole stream has the gaps %v", gaps)
	}
	if gaps := l.gaps(at(made, 100), nil); len(gaps) != 1 || gaps[0].From != 101 || gaps[0].To != 300 {
		t.Errorf("seen before it is written down: %v", gaps)
	}
	tally.Audited, tally.To = 250, 20
	tally.look(at(made, 100), time.Now())
	if tally.Audited != 100 || tally.To != 20 {
		t.Errorf("the sequences that are used again would not be audited: %+v", tally)
	}
	tally.look(at(made, 5000), time.Now())
	l.tallies = []Tally{tally}
	gaps := l.gaps(at(made, 5000), nil)
	if len(gaps) != 1 || !strings.HasPrefix(gaps[0].String(), "MAIL_0:101-300") {
		t.Fatalf("after the sequences were used again: %v", gaps)
	}
	accepted := tombstone.Gap{Bounds: stream.Bounds{From: 101, To: 300}, Created: made, Found: tally.Lost[0].Found}
	if gaps := l.gaps(at(made, 5000), []tombstone.Gap{accepted}); len(gaps) != 0 {
		t.Errorf("accepted: %v", gaps)
	}
	accepted.Found = accepted.Found.Add(-time.Hour)
	if gaps := l.gaps(at(made, 5000), []tombstone.Gap{accepted}); len(gaps) != 1 {
		t.Errorf("what was accepted before covers a later loss: %v", gaps)
	}
}

// A stream that was made again has the same name and other mail: nothing counted of the old one is said of the new one.
func TestAStreamThatWasMadeAgainHasATallyOfItsOwn(t *testing.T) {
	first, second := time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)
	old := Tally{Stream: "MAIL_0", Created: first, Seen: 300, Audited: 300, To: 120, Mails: 120}
	l := &ledger{tallies: []Tally{old}}
	now := at(second, 40)
	if got := l.of(now); got.To != 0 || got.Mails != 0 || !got.Created.Equal(second) {
		t.Errorf("the tally of the new stream is %+v", got)
	}
	gaps := l.gaps(now, nil)
	if len(gaps) != 1 || gaps[0].From != 121 || gaps[0].To != 300 || !strings.Contains(gaps[0].What, "created again") {
		t.Errorf("what was not purged of the old one: %v", gaps)
	}
	if gaps := l.losses(0, nil); len(gaps) != 1 || !strings.Contains(gaps[0].what, "no longer exists") {
		t.Errorf("a stream that is not there at all: %v", gaps)
	}
	accepted := tombstone.Gap{Bounds: stream.Bounds{From: 121, To: 300}, Created: first}
	if gaps := l.gaps(now, []tombstone.Gap{accepted}); len(gaps) != 0 {
		t.Errorf("accepted: %v", gaps)
	}
	old.To = 300
	l.tallies = []Tally{old}
	if gaps := l.gaps(now, nil); len(gaps) != 0 {
		t.Errorf("an old stream all of which was purged has lost %v", gaps)
	}
}

func TestWhatWasDecidedIsNotMissing(t *testing.T) {
	w := newWorld(1)
	recorded := new(acks.Acks)
	for _, what := range []tombstone.What{tombstone.Dropped, tombstone.Erased, tombstone.Accepted, ""} {
		id := w.accept(0, false)
		recorded.Add(id, shaOf(id))
		if what != "" {
			w.stones[id] = tombstone.Stone{What: what}
		}
	}
	r := w.audit(t, Options{Acks: recorded})
	if r.Dropped != 1 || r.Erased != 1 || r.Accepted != 1 || r.Missing != 1 || r.Acks.Decided != 3 || r.Acks.Missing != 1 {
		t.Errorf("%+v, %+v", r, *r.Acks)
	}
}

// retrying is a world in which a mail is stored after the audit looked for it in the database.
type retrying struct {
	*world
	id ulid.ULID
}

func (r retrying) Refresh(context.Context) error {
	r.rows[r.id] = mailstore.Row{ID: r.id, Size: 100, SHA256: shaOf(r.id)}
	return nil
}

// An operator retries a dead letter between two looks of the audit: the first finds no row yet, the second no dead letter any more.
func TestADeadLetterThatIsRetriedMeanwhileIsNotMissing(t *testing.T) {
	w := newWorld(1)
	w.accept(0, true)
	from := w.sources()
	from.Dead = retrying{w, w.accept(0, false)}
	if r, err := Run(t.Context(), from, Options{}); err != nil || r.Missing != 0 || r.Stored != 2 {
		t.Errorf("%+v %v", r, err)
	}
}

// Storing again is asked for what is missing alone, and believed only when the database has it.
func TestMissingMailIsStoredAgainOnlyWhenAskedTo(t *testing.T) {
	w := newWorld(1)
	w.accept(0, true)
	lost, stubborn, dropped := w.accept(0, false), w.accept(0, false), w.accept(0, false)
	w.stones[dropped] = tombstone.Stone{What: tombstone.Dropped}
	if r := w.audit(t, Options{}); r.Missing != 2 || r.Repaired != 0 {
		t.Fatalf("without repairing: %+v", r)
	}
	var asked []Place
	r := w.audit(t, Options{Repair: func(_ context.Context, places []Place) error {
		asked = append(asked, places...)
		w.rows[lost] = mailstore.Row{ID: lost, Size: 100, SHA256: shaOf(lost)}
		return nil
	}})
	if r.Repaired != 1 || r.Missing != 1 || r.Stored != 2 || len(asked) != 2 {
		t.Errorf("%+v, asked for %v", r, asked)
	}
	if first := r.Problems[0]; first.ID != stubborn && r.Problems[1].ID != stubborn {
		t.Errorf("the problems are %v", r.Problems)
	}
}
