package audit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/audit/acks"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/tombstone"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// world is a log, dead letters and a database in memory.
type world struct {
	shards   [][]stream.Head // in order of sequence, from 1
	first    []uint64        // first sequence the log still has
	settled  []uint64
	letters  []ulid.ULID
	rows     map[ulid.ULID]mailstore.Row
	damaged  map[ulid.ULID]bool
	unlisted map[mailstore.Line]bool
	stones   map[ulid.ULID]tombstone.Stone
	holes    []stream.Bounds // what the log has lost
	excused  []tombstone.Gap
	random   *rand.Rand
	clock    time.Time
	created  time.Time // of every stream
}

func newWorld(shards int) *world {
	return &world{shards: make([][]stream.Head, shards), first: slices.Repeat([]uint64{1}, shards), settled: make([]uint64, shards),
		rows: make(map[ulid.ULID]mailstore.Row), damaged: make(map[ulid.ULID]bool), unlisted: make(map[mailstore.Line]bool),
		stones: make(map[ulid.ULID]tombstone.Stone), random: rand.New(rand.NewPCG(1, 2)),
		clock: time.Now().Add(-time.Hour)}
}

func (w *world) Snapshot(_ context.Context, since time.Time) ([]stream.Bounds, error) {
	var all []stream.Bounds
	for i, heads := range w.shards {
		b := stream.Bounds{Shard: i, From: w.first[i], To: uint64(len(heads))}
		for b.From <= b.To && heads[b.From-1].Time.Before(since) {
			b.From++
		}
		all = append(all, b)
	}
	return all, nil
}

func (w *world) Outlines(_ context.Context, b stream.Bounds, fn func(*stream.Outline) error) error {
	for seq := max(b.From, w.first[b.Shard]); seq <= b.To; seq++ {
		if w.hole(b.Shard, seq) {
			continue
		}
		h := w.shards[b.Shard][seq-1]
		o := stream.Outline{ID: h.ID, Size: int64(h.Envelope.GetSize()), SHA256: [32]byte(h.Envelope.GetSha256()), Shard: h.Shard, Sequence: h.Sequence, Time: h.Time}
		for _, to := range h.Envelope.GetRecipients() {
			o.Mailboxes = append(o.Mailboxes, []byte(to.GetMailbox()))
		}
		if err := fn(&o); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) hole(shard int, seq uint64) bool {
	return slices.ContainsFunc(w.holes, func(h stream.Bounds) bool { return h.Shard == shard && h.From <= seq && seq <= h.To })
}

func (w *world) Gaps(_ context.Context, b stream.Bounds) (gaps []stream.Bounds, err error) {
	for _, h := range w.holes {
		if h.Shard == b.Shard && h.From <= b.To && h.To >= b.From {
			gaps = append(gaps, stream.Bounds{Shard: h.Shard, From: max(h.From, b.From), To: min(h.To, b.To)})
		}
	}
	return gaps, nil
}

func (w *world) State(_ context.Context, shard int) (stream.ShardState, error) {
	return stream.ShardState{Shard: shard, Created: w.created}, nil
}

// stones are a world's tombstones.
type stones struct{ *world }

func (s stones) Find(_ context.Context, id ulid.ULID) (tombstone.Stone, error) {
	if stone, ok := s.stones[id]; ok {
		return stone, nil
	}
	return tombstone.Stone{}, tombstone.ErrNotFound
}

func (s stones) Gaps(context.Context, int) ([]tombstone.Gap, error) { return s.excused, nil }

func (w *world) sources() Sources { return Sources{w, w, w, stones{w}} }

func (w *world) SettledUpTo(_ context.Context, shard int, _ string) (uint64, error) {
	return w.settled[shard], nil
}

func (w *world) Refresh(context.Context) error { return nil }

func (w *world) Has(_ context.Context, id ulid.ULID) (bool, error) {
	return slices.Contains(w.letters, id), nil
}

func (w *world) IDs(_ context.Context, from, to ulid.ULID, fn func(mailstore.Row) error) error {
	var ids []ulid.ULID
	for id := range w.rows {
		if id.Compare(from) >= 0 && id.Compare(to) <= 0 {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, ulid.ULID.Compare)
	for _, id := range ids {
		if err := fn(w.rows[id]); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) Sum(_ context.Context, from, to ulid.ULID) (sum mailstore.Sum, err error) {
	for id, row := range w.rows {
		if id.Compare(from) >= 0 && id.Compare(to) <= 0 {
			sum.Add(row)
		}
	}
	return sum, nil
}

func (w *world) SumOf(_ context.Context, ids []ulid.ULID) (sum mailstore.Sum, err error) {
	for _, id := range ids {
		if row, ok := w.rows[id]; ok {
			sum.Add(row)
		}
	}
	return sum, nil
}

func (w *world) Lines(_ context.Context, lines []mailstore.Line) (n int, err error) {
	for _, l := range lines {
		if _, stored := w.rows[l.ID]; stored && !w.unlisted[l] {
			n++
		}
	}
	return n, nil
}

func (w *world) SumLines(_ context.Context, from, to ulid.ULID) (sum mailstore.LineSum, err error) {
	boxes := [][16]byte{mailstore.Mbox("a@example.com"), mailstore.Mbox("b@example.com")}
	for id := range w.rows {
		if id.Compare(from) < 0 || id.Compare(to) > 0 {
			continue
		}
		for _, box := range boxes {
			if l := (mailstore.Line{Mbox: box, ID: id}); !w.unlisted[l] {
				sum.Add(l)
			}
		}
	}
	return sum, nil
}

func (w *world) Damaged(_ context.Context, mails []mailstore.Row) (damaged []ulid.ULID, err error) {
	for _, m := range mails {
		if w.damaged[m.ID] {
			damaged = append(damaged, m.ID)
		}
	}
	return damaged, nil
}

// accept puts a mail into the log, up to a second after the time in its id, and into the database when stored.
func (w *world) accept(shard int, stored bool) ulid.ULID {
	w.clock = w.clock.Add(time.Duration(w.random.IntN(20)) * time.Millisecond)
	var entropy [10]byte
	for i := range entropy {
		entropy[i] = byte(w.random.Uint32())
	}
	id := mailstore.IDAt(w.clock.Add(-time.Duration(w.random.IntN(1000)) * time.Millisecond))
	if err := id.SetEntropy(entropy[:]); err != nil {
		panic(err)
	}
	w.publish(shard, id)
	if stored {
		w.rows[id] = mailstore.Row{ID: id, Size: 100, SHA256: shaOf(id)}
	}
	w.settled[shard] = uint64(len(w.shards[shard]))
	return id
}

func (w *world) publish(shard int, id ulid.ULID) {
	sum := shaOf(id)
	w.shards[shard] = append(w.shards[shard], stream.Head{ID: id, Shard: shard, Sequence: uint64(len(w.shards[shard]) + 1), Time: w.clock,
		Envelope: &mailv1.Envelope{Id: id[:], Size: 100, Sha256: sum[:],
			Recipients: []*mailv1.Recipient{{Mailbox: "a@example.com"}, {Mailbox: "b@example.com"}, {Mailbox: "a@example.com"}}}})
}

func shaOf(id ulid.ULID) (sum [32]byte) {
	copy(sum[:], id[:])
	return sum
}

func (w *world) audit(t *testing.T, o Options) Report {
	t.Helper()
	r, err := Run(t.Context(), w.sources(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEveryFateIsCounted(t *testing.T) {
	w := newWorld(2)
	for i := range 500 {
		w.accept(i%2, true)
	}
	dead := w.accept(0, false)
	w.letters = append(w.letters, dead)
	missing := w.accept(1, false)
	damaged := w.accept(1, true)
	w.damaged[damaged] = true
	short := w.accept(0, true)
	w.rows[short] = mailstore.Row{ID: short, Size: 99, SHA256: shaOf(short)}
	twice := w.accept(0, true)
	w.publish(0, twice)
	w.settled[0]++
	extra := w.accept(0, true)
	w.shards[0] = w.shards[0][:len(w.shards[0])-1]
	w.settled[0]--
	pending := w.accept(1, false)
	w.settled[1]--

	r := w.audit(t, Options{Deep: true})
	want := Report{Mails: 506, Copies: 1, Stored: 501, Pending: 1, Dead: 1, Missing: 1, Extra: 1, Wrong: 2, Bytes: 50600}
	got := r
	got.Problems, got.last = nil, ulid.ULID{}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	var named []ulid.ULID
	for _, p := range r.Problems {
		named = append(named, p.ID)
	}
	for _, id := range []ulid.ULID{missing, damaged, short, extra} {
		if !slices.Contains(named, id) {
			t.Errorf("%s is not among the problems", id)
		}
	}
	if r.Unaccounted() != 3 {
		t.Errorf("%d unaccounted, want 3", r.Unaccounted())
	}
	if shallow := w.audit(t, Options{}); shallow.Wrong != 1 || shallow.Stored != 502 {
		t.Errorf("without reading the bytes: %+v", shallow)
	}
	_ = pending
}

// What its readers have deleted from every mailbox is erased: accounted for, and no bytes of it are asked for.
func TestErasedMailIsAccountedFor(t *testing.T) {
	w := newWorld(2)
	for i := range 300 {
		w.accept(i%2, true)
	}
	erased := w.accept(0, true)
	row := w.rows[erased]
	row.Erased = true
	w.rows[erased], w.damaged[erased] = row, true
	for _, deep := range []bool{false, true} {
		if r := w.audit(t, Options{Deep: deep}); r.Erased != 1 || r.Stored != 300 || r.Missing+r.Wrong+r.Unaccounted() != 0 {
			t.Errorf("deep %v: %+v", deep, r)
		}
	}
}

// A mail that a mailbox does not list is seen by nobody there: it is not stored.
func TestMailThatAMailboxDoesNotListIsNotStored(t *testing.T) {
	w := newWorld(2)
	var ids []ulid.ULID
	for i := range 3000 {
		ids = append(ids, w.accept(i%2, true))
	}
	lacking := []ulid.ULID{ids[0], ids[1500], ids[1501], ids[2999]}
	for _, id := range lacking {
		w.unlisted[mailstore.Line{Mbox: mailstore.Mbox("b@example.com"), ID: id}] = true
	}
	r := w.audit(t, Options{})
	if r.Unlisted != 4 || r.Stored != 2996 || r.Unaccounted() != 4 {
		t.Errorf("%+v", r)
	}
	for _, id := range lacking {
		if !slices.ContainsFunc(r.Problems, func(p Problem) bool { return p.ID == id && strings.HasPrefix(p.What, "unlisted") }) {
			t.Errorf("%s is not named", id)
		}
	}
	repair := func(_ context.Context, places []Place) error {
		id := w.shards[places[0].Shard][places[0].Sequence-1].ID
		delete(w.unlisted, mailstore.Line{Mbox: mailstore.Mbox("b@example.com"), ID: id})
		return nil
	}
	if r = w.audit(t, Options{Repair: repair}); r.Repaired != 4 || r.Unlisted != 0 || r.Stored != 3000 {
		t.Errorf("with repairing: %+v", r)
	}
}

// The windows must not show: more mails than one window, joined to the same answer, in memory that does not grow.
func TestManyWindowsGiveTheSameAnswer(t *testing.T) {
	w := newWorld(3)
	const mails = 3*windowMails + 123
	var missing int
	for i := range mails {
		stored := i%1000 != 7
		if !stored {
			missing++
		}
		w.accept(i%3, stored)
	}
	r := w.audit(t, Options{})
	if r.Mails != mails || r.Missing != int64(missing) || r.Stored != int64(mails-missing) || r.Extra != 0 || r.Copies != 0 {
		t.Errorf("%+v", r)
	}
}

func TestPurgedAndSinceAreNotExtra(t *testing.T) {
	w := newWorld(1)
	for range 1000 {
		w.accept(0, true)
		w.clock = w.clock.Add(time.Second)
	}
	w.first[0] = 601
	r := w.audit(t, Options{})
	if r.Mails != 400 || r.Stored != 400 || r.Extra != 0 || r.Purged == 0 {
		t.Errorf("after a purge: %+v", r)
	}
	since := ulid.Time(w.shards[0][800].ID.Time())
	r = w.audit(t, Options{Since: since})
	if r.Mails != 200 || r.Stored != 200 || r.Extra != 0 || r.Missing != 0 {
		t.Errorf("since %s: %+v", since, r)
	}
}

// A quiet night after a busy day: everything is stored and older than STREAM_KEEP, so the log is empty.
func TestMailOfAnEmptiedLogIsNotExtra(t *testing.T) {
	w := newWorld(2)
	for range 100 {
		w.accept(0, true)
	}
	w.first[0] = 101
	if r := w.audit(t, Options{}); r.Mails != 0 || r.Extra != 0 || r.Purged != 100 {
		t.Errorf("%+v", r)
	}
	// Beside a shard that has all its mail, which therefore explains nothing of the other's.
	w.accept(1, true)
	if r := w.audit(t, Options{}); r.Stored != 1 || r.Extra != 0 || r.Purged != 100 {
		t.Errorf("%+v", r)
	}
}

func TestExpiredMailIsNotMissing(t *testing.T) {
	w := newWorld(1)
	w.clock = time.Now().Add(-72 * time.Hour)
	for range 10 {
		w.accept(0, false)
	}
	if r := w.audit(t, Options{Retention: 24 * time.Hour}); r.Expired != 10 || r.Missing != 0 {
		t.Errorf("%+v", r)
	}
}

func TestRecordedRepliesAreHeldAgainstBoth(t *testing.T) {
	w := newWorld(1)
	recorded := new(acks.Acks)
	for i := range 100 {
		id := w.accept(0, true)
		if i < 90 {
			recorded.Add(id, shaOf(id))
		} else if i < 97 {
			recorded.Unsure(shaOf(id)) // its sender never saw the 250
		}
	}
	lost := ulid.MustNew(ulid.Timestamp(w.clock), nil)
	recorded.Add(lost, [32]byte{1})
	changed := w.accept(0, true)
	recorded.Add(changed, [32]byte{2})
	r := w.audit(t, Options{Acks: recorded})
	want := acks.Report{Recorded: 92, Stored: 90, Missing: 1, Wrong: 1, Unsure: 7, Extra: 7, Unexplained: 3}
	if *r.Acks != want {
		t.Errorf("got  %+v\nwant %+v", *r.Acks, want)
	}
	if r.Unaccounted() != 5 {
		t.Errorf("%d unaccounted, want 5: %+v", r.Unaccounted(), r)
	}
}

// What left the log before the audit is looked up in the database.
func TestRecordedRepliesOlderThanTheLog(t *testing.T) {
	w := newWorld(1)
	recorded := new(acks.Acks)
	for range 100 {
		id := w.accept(0, true)
		recorded.Add(id, shaOf(id))
	}
	w.first[0] = 101
	if r := w.audit(t, Options{Acks: recorded}); r.Acks.Stored != 100 || r.Acks.Missing != 0 {
		t.Errorf("%+v", *r.Acks)
	}
}

func TestRangeBeforeAPurge(t *testing.T) {
	w := newWorld(1)
	for range 200 {
		w.accept(0, true)
	}
	w.accept(0, false)
	r, err := RunRange(t.Context(), w.sources(), "MAIL_0", 51, 150, Options{})
	if err != nil || r.Mails != 100 || r.Stored != 100 || r.Unaccounted() != 0 {
		t.Errorf("%+v %v", r, err)
	}
	if r, err = RunRange(t.Context(), w.sources(), "MAIL_0", 151, 201, Options{}); err != nil || r.Missing != 1 {
		t.Errorf("%+v %v", r, err)
	}
	if _, err := RunRange(t.Context(), w.sources(), "MAIL_DEAD", 1, 2, Options{}); err == nil {
		t.Error("a stream without mail was audited")
	}
}

// More mail than a window holds may come within Slack. It is joined when as much again has come, not at each mail.
func TestDenseMailIsJoinedInWindows(t *testing.T) {
	w := newWorld(1)
	const mails = 6 * windowMails
	start := w.clock
	for i := range mails {
		w.clock = start.Add(time.Duration(i) * 2 * Slack / mails)
		w.accept(0, true)
	}
	windows := 0
	report, err := Run(t.Context(), w.sources(), Options{Progress: func(int64) { windows++ }})
	if err != nil {
		t.Fatal(err)
	}
	if report.Stored != mails || report.Missing != 0 || report.Extra != 0 {
		t.Errorf("%+v", report)
	}
	if windows > 7 {
		t.Errorf("joined %d times", windows)
	}
}
