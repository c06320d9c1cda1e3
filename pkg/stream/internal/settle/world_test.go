package settle

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sluice-mail/sluice/pkg/stream"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// world is what settlers live in: a log that delivers messages, a bucket with marks, a database and a grave, all of which
// may be away, and processes that end. It checks what must hold at every step.
type world struct {
	t     testing.TB
	now   time.Time
	procs []*proc
	born  int // processes so far
	logs  []*logged

	entries map[Place]kept
	history []changed
	last    uint64 // revision of the bucket

	deaths     int
	away, full bool
	noGrave    bool
	bucket     int // 0 there, 1 away, 2 takes writes but does not say so
}

// proc is a process with its settler.
type proc struct {
	s         *Settler
	up        bool
	disturbed bool // it could not write at some time since its last write
	unsure    bool // the answer to a write was lost: it may hold a mark that it does not know of
	stopped   bool
	jobs      []*Job
	writes    []Write
	reads     []Place
	heard     int // of history
}

// nature is what a mail does to the handler.
type nature int

const (
	good nature = iota
	refused
	panics
	panicsUnlessPlain
	kills
	killsUnlessPlain
	natures
)

// logged is a message of the log, and what has become of its mails.
type logged struct {
	Place
	natures   []nature
	delivered uint64
	acked     bool
	holders   []*proc
	done      []bool
	buried    []bool
	panicked  []int // calls with this mail alone
	found     []int // marks of this mail alone that were taken over
	plain     []bool
	skipped   int
	disturbed bool // a process ended, or was cut off, for another reason than its mails
}

type kept struct {
	mark     Mark
	revision uint64
}

type changed struct {
	Place
	mark     *Mark
	revision uint64
}

const worldWorkers = 2

func newWorld(t testing.TB, procs int) *world {
	w := &world{t: t, now: time.Unix(1e9, 0), entries: make(map[Place]kept)}
	for range procs {
		w.procs = append(w.procs, nil)
	}
	for i := range w.procs {
		w.start(i)
	}
	return w
}

func (w *world) start(i int) *proc {
	w.born++
	p := &proc{up: true, s: New(Settings{
		Instance: fmt.Sprintf("process %d", w.born), Workers: worldWorkers, BatchMails: 8, BatchBytes: 1 << 20,
		Linger: 10 * time.Millisecond, Grave: !w.noGrave, Refresh: time.Second, Stale: 2 * time.Second,
		Backoff: func(n int) time.Duration { return min(100*time.Millisecond<<min(n, 10), 2*time.Second) },
	})}
	w.procs[i] = p
	p.s.Link(w.now, true)
	p.s.Listing()
	for _, l := range w.logs { // not by the map: the same events make the same world
		if k, ok := w.entries[l.Place]; ok {
			p.s.Know(w.now, l.Place, &k.mark, k.revision)
		}
	}
	p.s.Listed(w.now)
	p.heard = len(w.history)
	w.drain(p)
	return p
}

// add puts a message into the log.
func (w *world) add(all ...nature) *logged {
	n := len(all)
	l := &logged{
		Place: Place{"MAIL_0", uint64(len(w.logs) + 1)}, natures: all, done: make([]bool, n), buried: make([]bool, n),
		panicked: make([]int, n), found: make([]int, n), plain: make([]bool, n),
	}
	w.logs = append(w.logs, l)
	return l
}

func (l *logged) message() *Message {
	m := &Message{Place: l.Place}
	for i := range l.natures {
		m.Mails = append(m.Mails, &Mail{Of: m, Message: &stream.Message{
			Index: i, Of: len(l.natures), Stream: l.Stream, Sequence: l.Sequence, Envelope: &mailv1.Envelope{}, Raw: make([]byte, 100),
		}})
	}
	return m
}

func (w *world) deliver(l *logged, p *proc) {
	if l.acked || p.stopped {
		return
	}
	l.delivered++
	l.holders = append(l.holders, p)
	m := l.message()
	m.Delivered, m.Deliveries = l.delivered, []any{"a delivery"}
	p.s.Take(w.now, m)
	w.drain(p)
}

func (w *world) logged(p Place) *logged { return w.logs[p.Sequence-1] }

// drain does what a settler wants at once, and checks it.
func (w *world) drain(p *proc) {
	out := p.s.Collect()
	for _, j := range out.Jobs {
		w.checkJob(p, j)
		p.jobs = append(p.jobs, j)
	}
	for _, f := range out.Finals {
		w.checkFinal(f)
	}
	for _, m := range out.Acked {
		l := w.logged(m.Place)
		for i := range l.natures {
			if !l.done[i] && !l.buried[i] {
				w.t.Fatalf("%v is acknowledged, but mail %d is neither done nor buried", l.Place, i)
			}
		}
		l.acked = l.acked || len(m.Deliveries) > 0
	}
	p.writes, p.reads = append(p.writes, out.Writes...), append(p.reads, out.Reads...)
	if len(p.writes) > 1 || len(p.reads) > 1 || len(p.jobs) > worldWorkers+1 {
		w.t.Fatalf("%d writes, %d reads and %d jobs at once", len(p.writes), len(p.reads), len(p.jobs))
	}
}

// do finishes a job.
func (w *world) do(p *proc, n int) {
	if len(p.jobs) == 0 {
		return
	}
	n %= len(p.jobs)
	j := p.jobs[n]
	p.jobs = slices.Delete(p.jobs, n, n+1)
	if j.Bury != nil {
		var err error
		if w.full {
			err = errors.New("no room")
		} else {
			w.logged(j.Bury.Of.Place).buried[j.Bury.Index] = true
		}
		p.s.Buried(w.now, j, err)
		w.drain(p)
		return
	}
	verdicts, fault, died := w.handle(j.Mails)
	if died {
		w.deaths++
		w.checkDeath(p, j)
		w.die(p)
		return
	}
	p.s.Answered(w.now, j, verdicts, fault)
	w.drain(p)
}

// handle is the handler.
func (w *world) handle(mails []*Mail) (verdicts []Verdict, fault error, died bool) {
	for _, it := range mails {
		l, i := w.logged(it.Of.Place), it.Index
		switch n := l.natures[i]; {
		case n == kills || n == killsUnlessPlain && !it.Alone:
			return nil, nil, true
		case n == panics || n == panicsUnlessPlain && !it.Alone:
			fault = errors.New("panic: it fell over")
			if len(mails) == 1 {
				l.panicked[i]++
			}
		}
	}
	if fault != nil {
		return nil, fault, false
	}
	for _, it := range mails {
		l := w.logged(it.Of.Place)
		switch {
		case w.away:
			verdicts = append(verdicts, Retry(errors.New("the database is away")))
		case l.natures[it.Index] == refused:
			verdicts = append(verdicts, Dead("it is refused"))
		default:
			l.done[it.Index] = true
			verdicts = append(verdicts, Done())
		}
	}
	return verdicts, nil, false
}

// die ends a process; a new one takes its place.
func (w *world) die(p *proc) {
	for _, l := range w.logs {
		l.holders = slices.DeleteFunc(l.holders, func(h *proc) bool { return h == p })
	}
	w.start(slices.Index(w.procs, p))
}

// kill ends a process for another reason than its mails.
func (w *world) kill(p *proc) {
	for pl, k := range w.entries {
		if k.mark.By == p.s.Instance {
			w.logged(pl).disturbed = true
		}
	}
	for _, wr := range p.writes {
		w.logged(wr.Place).disturbed = true
	}
	w.die(p)
}

// alive is the process of that instance, nil when it has ended.
func (w *world) alive(instance string) *proc {
	for _, p := range w.procs {
		if p.s.Instance == instance {
			return p
		}
	}
	return nil
}

// write makes the write of a process.
func (w *world) write(p *proc) {
	if len(p.writes) == 0 {
		return
	}
	wr := p.writes[0]
	p.writes = nil
	if w.bucket == 1 || !p.up {
		p.s.Written(w.now, wr, 0, errors.New("the log is away"))
		w.drain(p)
		return
	}
	have := w.entries[wr.Place]
	if have.revision != wr.Revision {
		w.tellEntry(p, wr.Place)
		p.s.Written(w.now, wr, 0, ErrConflict)
		w.drain(p)
		return
	}
	w.checkTakeOver(p, have.mark, wr)
	w.last++
	revision := w.last
	if wr.Mark == nil {
		delete(w.entries, wr.Place)
		revision = 0
	} else {
		w.entries[wr.Place] = kept{*wr.Mark, revision}
	}
	w.history = append(w.history, changed{wr.Place, wr.Mark, w.last})
	p.disturbed = false
	if w.bucket == 2 {
		p.disturbed, p.unsure = true, true
		w.logged(wr.Place).disturbed = true
		p.s.Written(w.now, wr, 0, errors.New("no answer"))
	} else {
		p.s.Written(w.now, wr, revision, nil)
	}
	w.drain(p)
}

// tellEntry tells a process what an entry is, as who reads it after a write that failed.
func (w *world) tellEntry(p *proc, pl Place) {
	if have, ok := w.entries[pl]; ok {
		p.s.Know(w.now, pl, &have.mark, have.revision)
	} else {
		p.s.Know(w.now, pl, nil, 0)
	}
}

func (w *world) read(p *proc) {
	if len(p.reads) == 0 {
		return
	}
	l := w.logged(p.reads[0])
	p.reads = nil
	switch {
	case !p.up:
		p.s.Read(w.now, l.Place, nil, errors.New("the log is away"))
	case l.acked:
		p.s.Read(w.now, l.Place, nil, nil)
	default:
		p.s.Read(w.now, l.Place, l.message(), nil)
	}
	w.drain(p)
}

// hear tells a process the next changes of the bucket.
func (w *world) hear(p *proc, n int) {
	for ; n > 0 && p.heard < len(w.history) && p.up; n-- {
		c := w.history[p.heard]
		p.heard++
		p.s.Know(w.now, c.Place, c.mark, c.revision)
		w.drain(p)
	}
}

func (w *world) link(p *proc, up bool) {
	p.up = up
	p.disturbed = p.disturbed || !up
	p.s.Link(w.now, up)
	w.drain(p)
}

// fair lets every process that can write and hear do so.
func (w *world) fair() {
	for again, n := true, 0; again; n++ {
		if n > 1000 {
			w.t.Fatal("the bucket does not come to rest")
		}
		again = false
		for _, p := range w.procs {
			if w.bucket != 0 || !p.up {
				p.disturbed = true
			}
			w.hear(p, len(w.history))
			if len(p.writes) > 0 && (w.bucket == 0 || !p.up) {
				w.write(p)
				again = true
			}
			if len(p.reads) > 0 {
				w.read(p)
				again = true
			}
		}
	}
}

// pass lets time pass; everybody is ticked when he wants to be.
func (w *world) pass(d time.Duration) {
	end := w.now.Add(d)
	for n := 0; ; n++ {
		if n > 10_000 {
			w.t.Fatal("somebody wants to be ticked all the time")
		}
		w.fair()
		next := end
		for _, p := range w.procs {
			if at := p.s.Wake(w.now); !at.IsZero() && at.Before(next) {
				next = at
			}
		}
		if next.After(w.now) {
			w.now = next
		}
		for _, p := range w.procs {
			p.s.Tick(w.now)
			w.drain(p)
		}
		if !w.now.Before(end) {
			w.fair()
			return
		}
	}
}

// stop stops a process in an orderly way; when it is through, a new one takes its place.
func (w *world) stop(p *proc) {
	if p.stopped {
		return
	}
	p.stopped = true
	p.s.Stop(w.now)
	w.drain(p)
}

// reap replaces the processes that have stopped.
func (w *world) reap() {
	for i, p := range w.procs {
		if p.stopped && p.s.Idle() && len(p.jobs) == 0 {
			w.checkStopped(p)
			for _, l := range w.logs {
				l.holders = slices.DeleteFunc(l.holders, func(h *proc) bool { return h == p })
			}
			w.start(i)
		}
	}
}

// end heals everything; then every mail must come to its end.
func (w *world) end() {
	w.away, w.full, w.bucket = false, false, 0
	for _, p := range w.procs {
		if !p.up {
			w.link(p, true)
		}
	}
	for n := 0; slices.ContainsFunc(w.logs, func(l *logged) bool { return !l.acked }); n++ {
		if n > 3000 {
			w.stuck()
		}
		for i, l := range w.logs {
			if len(l.holders) == 0 {
				w.deliver(l, w.procs[i%len(w.procs)])
			}
		}
		w.pass(500 * time.Millisecond)
		for _, p := range slices.Clone(w.procs) {
			w.do(p, 0)
		}
		w.reap()
	}
	for range 20 {
		for _, p := range slices.Clone(w.procs) {
			w.do(p, 0)
		}
		w.reap()
		w.pass(time.Second)
	}
	w.checkEnd()
}
