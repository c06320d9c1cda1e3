package audit

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/audit/acks"
	"github.com/sluice-mail/sluice/pkg/mailstore"
)

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
	for _, per := range []int{1, 11} { // mails of a message
		w := newWorld(3)
		w.per = per
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
			t.Errorf("%d mails in a message: %+v", per, r)
		}
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
	// The database keeps whole days: it still has all mail of the day on which the retention ends.
	w.clock = time.Now().Add(-24 * time.Hour).Truncate(24 * time.Hour).Add(time.Second)
	w.accept(0, false)
	if r := w.audit(t, Options{Retention: 24 * time.Hour}); r.Expired != 10 || r.Missing != 1 {
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
