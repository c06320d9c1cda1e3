package settle

import (
	"math/rand/v2"
	"testing"
	"time"
)

// FuzzSettler: any order of events in a world with two processes, each event chosen by two bytes. The world checks: every
// mail has one end; a message is acknowledged only after all of its mails have; nothing is buried unless its mark was
// found twice, it made the handler panic twice, or the handler said so; calls under a mark are made alone; nobody takes a
// mark from a process that lives; and when everything is healthy again, everything comes to its end.
func FuzzSettler(f *testing.F) {
	f.Add([]byte{0, 1, 0, 2, 8, 0, 2, 0, 3, 0, 8, 1})
	f.Add([]byte{0, 4, 0, 20, 8, 0, 2, 0, 8, 2, 2, 0, 8, 2, 2, 0, 8, 3, 2, 0, 8, 4})
	f.Add([]byte{0, 3, 0, 33, 10, 0, 8, 0, 2, 0, 15, 0, 2, 0, 8, 3, 10, 0, 8, 4, 2, 0})
	f.Add([]byte{0, 28, 8, 0, 2, 0, 14, 0, 14, 1, 8, 0, 9, 0, 8, 4, 2, 0, 8, 4, 9, 0, 8, 4})
	f.Add([]byte{0, 29, 14, 0, 14, 0, 14, 0, 8, 1, 12, 0, 8, 3, 13, 0, 12, 1, 8, 4, 8, 4, 2, 0, 5, 0})
	f.Fuzz(func(t *testing.T, events []byte) {
		if len(events) > 400 {
			return
		}
		w := newWorld(t, 2)
		for i := 0; i+1 < len(events); i += 2 {
			w.event(events[i], int(events[i+1]))
		}
		w.end()
	})
}

var passing = []time.Duration{20 * time.Millisecond, 200 * time.Millisecond, time.Second, 3 * time.Second, 10 * time.Second}

// event is one of everything that can happen; n chooses of what.
func (w *world) event(kind byte, n int) {
	p := w.procs[n%len(w.procs)]
	n /= len(w.procs)
	switch kind % 16 {
	case 0, 1:
		if len(w.logs) >= 12 {
			return
		}
		mails := make([]nature, 1+n%12)
		if n >= 16 { // one of them is not good
			mails[n%len(mails)] = nature(n/16) % natures
		}
		w.deliver(w.add(mails...), p)
	case 2, 3, 4:
		w.do(p, n)
	case 5:
		w.write(p)
	case 6:
		w.read(p)
	case 7:
		w.hear(p, 1+n%3)
	case 8:
		w.pass(passing[n%len(passing)])
	case 9:
		w.link(p, !p.up)
	case 10:
		w.away = !w.away
	case 11:
		w.full = !w.full
	case 12:
		w.bucket = n % 3
		for _, p := range w.procs {
			p.disturbed = p.disturbed || w.bucket > 0
		}
	case 13:
		w.kill(p)
	case 14:
		if len(w.logs) > 0 {
			w.deliver(w.logs[n%len(w.logs)], p)
		}
	case 15:
		w.stop(p)
		w.reap()
	}
}

// settle lets one process, and those that take its place, work until the messages are acknowledged.
func (w *world) settle(logs ...*logged) {
	w.t.Helper()
	for n := 0; ; n++ {
		open := 0
		for _, l := range logs {
			if l.acked {
				continue
			}
			if open++; len(l.holders) == 0 {
				w.deliver(l, w.procs[0])
			}
		}
		switch {
		case open == 0:
			w.pass(time.Second)
			return
		case n > 500:
			w.stuck()
		}
		w.pass(500 * time.Millisecond)
		w.do(w.procs[0], 0)
	}
}

func all(n int, other nature, at ...int) []nature {
	mails := make([]nature, n)
	for _, i := range at {
		mails[i] = other
	}
	return mails
}

func TestOneMailThatKillsCostsFiveDeathsAndNobodyElse(t *testing.T) {
	for _, c := range []struct {
		nature nature
		deaths int
		buried bool
	}{
		{kills, SuspectAfter - 1 + 1 + foundPoison, true},
		{killsUnlessPlain, SuspectAfter - 1 + 1 + foundPoison - 1, false},
	} {
		w := newWorld(t, 1)
		l := w.add(all(8, c.nature, 5)...)
		w.settle(l)
		w.checkEnd()
		if w.deaths != c.deaths || l.buried[5] != c.buried || !l.done[7] || l.plain[4] {
			t.Errorf("nature %d: %d deaths, buried %v, the last one done %v", c.nature, w.deaths, l.buried, l.done[7])
		}
	}
}

// Its message has one mail only: there is nobody to tell it from.
func TestLoneMailThatKillsCostsFourDeaths(t *testing.T) {
	w := newWorld(t, 1)
	l := w.add(kills)
	w.settle(l)
	if want := SuspectAfter - 1 + foundPoison; w.deaths != want || !l.buried[0] {
		t.Errorf("%d deaths, want %d; buried %v", w.deaths, want, l.buried)
	}
}

// A message whose trial is over comes again, because nobody could acknowledge it: what is known of its mails is not
// learned again.
func TestWhatIsKnownOutlivesTheTrial(t *testing.T) {
	w := newWorld(t, 1)
	l := w.add(good, kills, killsUnlessPlain)
	w.settle(l)
	before := w.deaths
	l.acked = false
	w.deliver(l, w.procs[0])
	w.settle(l)
	if w.deaths != before || !l.acked {
		t.Errorf("it cost %d more deaths", w.deaths-before)
	}
}

func TestPanicsUseUpNoDelivery(t *testing.T) {
	w := newWorld(t, 1)
	l := w.add(good, panics, good, panicsUnlessPlain)
	w.settle(l)
	w.checkEnd()
	if l.delivered != 1 || !l.buried[1] || l.buried[3] || !l.plain[3] || l.plain[0] {
		t.Errorf("delivered %d times, buried %v, plain %v", l.delivered, l.buried, l.plain)
	}
}

func TestRestartsWhileTheDatabaseIsAwayAreNoEvidence(t *testing.T) {
	w := newWorld(t, 1)
	w.away = true
	var logs []*logged
	for range 6 {
		logs = append(logs, w.add(all(8, good)...))
	}
	for range 5 {
		for _, l := range logs {
			w.deliver(l, w.procs[0])
		}
		for range 20 {
			w.pass(300 * time.Millisecond)
			w.do(w.procs[0], 0)
		}
		w.stop(w.procs[0])
		for w.procs[0].stopped {
			w.do(w.procs[0], 0)
			w.pass(100 * time.Millisecond)
			w.reap()
		}
	}
	w.away = false
	w.settle(logs...)
	w.checkEnd()
}

// busy brings a process to a call under a mark.
func busy(t *testing.T, procs int, mails ...nature) (*world, *logged, *proc) {
	w := newWorld(t, procs)
	l := w.add(mails...)
	l.delivered = SuspectAfter - 1
	p := w.procs[0]
	w.deliver(l, p)
	w.pass(20 * time.Millisecond)
	if len(p.jobs) != 1 || w.entries[l.Place].mark.By != p.s.Instance {
		t.Fatalf("%d jobs, the entry %+v", len(p.jobs), w.entries[l.Place].mark)
	}
	return w, l, p
}

func TestMarkOfALongCallStays(t *testing.T) {
	w, l, p := busy(t, 2, good, good)
	w.pass(time.Minute)
	if k := w.entries[l.Place].mark; k.By != p.s.Instance || len(w.procs[1].s.suspects) > 0 {
		t.Errorf("the entry %+v", k)
	}
	w.do(p, 0)
	w.settle(l)
	if len(w.entries) != 0 {
		t.Errorf("left: %+v", w.entries)
	}
}

func TestMarkIsTakenOverFromADeadProcess(t *testing.T) {
	w, l, p := busy(t, 2, good, good)
	w.kill(p)
	w.pass(3 * time.Second) // not yet: it is doubted only
	if k := w.entries[l.Place].mark; k.By != p.s.Instance || k.Doubt == "" {
		t.Errorf("the entry %+v", k)
	}
	w.pass(2 * time.Second)
	if k := w.entries[l.Place].mark; k.By == p.s.Instance || !k.Singly || len(k.Mails) != 1 {
		t.Errorf("the entry %+v", k)
	}
}

// The database is there again: who finds out tells the others, whose own next attempt may be far off.
func TestWhoRecoversWakesTheOthers(t *testing.T) {
	w := newWorld(t, 1)
	p := w.procs[0]
	w.away = true
	first, second := w.add(all(8, good)...), w.add(all(8, good)...)
	w.deliver(first, p)
	w.deliver(second, p)
	for range 5 { // both rest longer and longer, not in step
		w.pass(400 * time.Millisecond)
		w.do(p, 0)
		w.pass(1900 * time.Millisecond)
		w.do(p, 0)
	}
	w.away = false
	for !first.acked && !second.acked {
		w.pass(20 * time.Millisecond)
		w.do(p, 0)
	}
	if len(p.jobs) != 1 {
		t.Fatalf("%d jobs", len(p.jobs))
	}
	w.do(p, 0)
	if !first.acked || !second.acked || p.s.Trouble() != nil || !p.s.Hungry(0) {
		t.Errorf("acknowledged %v and %v, trouble %v", first.acked, second.acked, p.s.Trouble())
	}
}

// A process is about to take a mark over when its holder, which was only slow, refreshes it: that was no evidence.
func TestMarkOfASlowProcessIsNoEvidence(t *testing.T) {
	w, l, slow := busy(t, 2, good)
	other := w.procs[1]
	w.deliver(l, other)
	alone := func(d time.Duration) { // the other one has the world for itself
		w.now = w.now.Add(d)
		w.hear(other, len(w.history))
		other.s.Tick(w.now)
		w.drain(other)
	}
	alone(3 * time.Second)
	w.write(other) // its doubt
	alone(3 * time.Second)
	if len(other.writes) != 1 || other.writes[0].Mark.By != other.s.Instance {
		t.Fatalf("it does not take over: %+v", other.writes)
	}
	w.hear(slow, len(w.history))
	w.write(slow)
	w.write(other)
	if k := w.entries[l.Place].mark; k.By != slow.s.Instance || k.Doubt != "" {
		t.Fatalf("the entry %+v", k)
	}
	w.do(slow, 0)
	w.pass(time.Second)
	if len(other.jobs) != 1 {
		t.Fatalf("%d jobs", len(other.jobs))
	}
	w.do(other, 0) // it was not handed on plain: the world has looked
}

func TestRetryLeavesNoMark(t *testing.T) {
	w, l, p := busy(t, 1, good, good)
	w.away = true
	w.do(p, 0)
	w.fair()
	if k, there := w.entries[l.Place]; there || p.s.Trouble() == nil || p.s.Hungry(0) {
		t.Errorf("the entry %+v, trouble %v, hungry %v", k, p.s.Trouble(), p.s.Hungry(0))
	}
}

func TestOrderlyStopTakesTheMarkAwayAtOnce(t *testing.T) {
	w, l, p := busy(t, 1, good, good)
	w.stop(p)
	w.fair()
	if k, there := w.entries[l.Place]; there || p.s.Idle() {
		t.Errorf("the entry %+v, idle %v", k, p.s.Idle())
	}
}

func TestBucketAwayKeepsGoodMailGoing(t *testing.T) {
	w := newWorld(t, 1)
	w.bucket = 1
	suspect, rest := w.add(good), w.add(all(8, good)...)
	suspect.delivered = SuspectAfter
	p := w.procs[0]
	w.deliver(suspect, p)
	w.deliver(rest, p)
	for range 20 {
		w.pass(100 * time.Millisecond)
		w.write(p)
		w.do(p, 0)
	}
	if !rest.acked || suspect.done[0] || p.s.Trouble() == nil {
		t.Errorf("good mail acknowledged %v, the suspect done %v, trouble %v", rest.acked, suspect.done[0], p.s.Trouble())
	}
	w.bucket = 0
	w.settle(suspect)
	if err := p.s.Trouble(); err != nil {
		t.Errorf("trouble %v", err)
	}
}

// A claim that had to wait for the bucket is not made any more when other calls have begun meanwhile.
func TestNoMarkIsBegunBesideOtherCalls(t *testing.T) {
	w, _, dead := busy(t, 2, good)
	w.kill(dead)
	p := w.procs[1]
	w.hear(p, len(w.history))
	w.now = w.now.Add(3 * time.Second)
	p.s.Tick(w.now)
	w.drain(p) // it doubts the dead process; while that is written, a suspect comes
	suspect := w.add(good)
	suspect.delivered = SuspectAfter
	w.deliver(suspect, p)
	w.bucket = 1
	w.write(p)
	rest := w.add(all(8, good)...)
	w.deliver(rest, p)
	w.bucket = 0
	w.now = w.now.Add(3 * time.Second)
	p.s.Tick(w.now)
	w.drain(p)
	if len(p.jobs) != 1 {
		t.Fatalf("%d jobs", len(p.jobs))
	}
	for range 3 {
		w.write(p)
		if k := w.entries[suspect.Place].mark; k.By != "" {
			t.Errorf("marked beside another call: %+v", k)
		}
	}
	w.end()
}

func TestWithoutAGraveTheDeadAreSkipped(t *testing.T) {
	w := &world{t: t, now: time.Unix(1e9, 0), entries: make(map[Place]kept), procs: make([]*proc, 1), noGrave: true}
	w.start(0)
	l := w.add(good, refused, panics, kills)
	w.settle(l)
	if l.skipped != 3 || !l.done[0] {
		t.Errorf("%d skipped, done %v", l.skipped, l.done)
	}
}

func TestBatchesAreOfAShardAndBounded(t *testing.T) {
	w := newWorld(t, 1)
	s := w.procs[0].s
	for _, shard := range []int{0, 1, 0, 1} {
		m := w.add(all(6, good)...).message()
		m.Shard, m.Delivered, m.Deliveries = shard, 1, []any{"a delivery"}
		s.Take(w.now, m)
	}
	s.Tick(w.now.Add(time.Second))
	out := s.Collect()
	if len(out.Jobs) != worldWorkers {
		t.Fatalf("%d jobs", len(out.Jobs))
	}
	for _, j := range out.Jobs {
		for _, it := range j.Mails {
			if it.Of.Shard != j.Mails[0].Of.Shard || len(j.Mails) != s.BatchMails {
				t.Errorf("%d mails of shards %d and %d", len(j.Mails), it.Of.Shard, j.Mails[0].Of.Shard)
			}
		}
	}
}

// TestRandomWorlds is what the fuzz target does, with the same worlds each time.
func TestRandomWorlds(t *testing.T) {
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(t, 2)
		for range 20 + r.IntN(150) {
			w.event(byte(r.IntN(256)), r.IntN(256))
		}
		w.end()
	}
}
