package consume

import (
	"errors"
	"fmt"
	"slices"
	"strings"
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

	entries map[place]kept
	history []changed
	last    uint64 // revision of the bucket

	deaths     int
	away, full bool
	noGrave    bool
	bucket     int // 0 there, 1 away, 2 takes writes but does not say so
}

// proc is a process with its settler.
type proc struct {
	s         *settler
	up        bool
	disturbed bool // it could not write at some time since its last write
	stopped   bool
	jobs      []*job
	writes    []write
	reads     []place
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
	place
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
	mark     mark
	revision uint64
}

type changed struct {
	place
	mark     *mark
	revision uint64
}

const worldWorkers = 2

func newWorld(t testing.TB, procs int) *world {
	w := &world{t: t, now: time.Unix(1e9, 0), entries: make(map[place]kept)}
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
	p := &proc{up: true, s: newSettler(settings{
		instance: fmt.Sprintf("process %d", w.born), workers: worldWorkers, batchMails: 8, batchBytes: 1 << 20,
		linger: 10 * time.Millisecond, grave: !w.noGrave, refresh: time.Second, stale: 2 * time.Second,
		backoff: func(n int) time.Duration { return min(100*time.Millisecond<<min(n, 10), 2*time.Second) },
	})}
	w.procs[i] = p
	p.s.link(w.now, true)
	p.s.listing()
	for _, l := range w.logs { // not by the map: the same events make the same world
		if k, ok := w.entries[l.place]; ok {
			p.s.know(w.now, l.place, &k.mark, k.revision)
		}
	}
	p.s.list(w.now)
	p.heard = len(w.history)
	w.drain(p)
	return p
}

// add puts a message into the log.
func (w *world) add(all ...nature) *logged {
	n := len(all)
	l := &logged{
		place: place{"MAIL_0", uint64(len(w.logs) + 1)}, natures: all, done: make([]bool, n), buried: make([]bool, n),
		panicked: make([]int, n), found: make([]int, n), plain: make([]bool, n),
	}
	w.logs = append(w.logs, l)
	return l
}

func (l *logged) message() *message {
	m := &message{place: l.place}
	for i := range l.natures {
		m.mails = append(m.mails, &mail{of: m, Message: &stream.Message{
			Index: i, Of: len(l.natures), Stream: l.stream, Sequence: l.sequence, Envelope: &mailv1.Envelope{}, Raw: make([]byte, 100),
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
	m.delivered, m.deliveries = l.delivered, []*delivery{{}}
	p.s.take(w.now, m)
	w.drain(p)
}

func (w *world) logged(p place) *logged { return w.logs[p.sequence-1] }

// drain does what a settler wants at once, and checks it.
func (w *world) drain(p *proc) {
	out := p.s.collect()
	for _, j := range out.jobs {
		w.checkJob(p, j)
		p.jobs = append(p.jobs, j)
	}
	for _, f := range out.finals {
		w.checkFinal(f)
	}
	for _, m := range out.acked {
		l := w.logged(m.place)
		for i := range l.natures {
			if !l.done[i] && !l.buried[i] {
				w.t.Fatalf("%v is acknowledged, but mail %d is neither done nor buried", l.place, i)
			}
		}
		l.acked = l.acked || len(m.deliveries) > 0
	}
	p.writes, p.reads = append(p.writes, out.writes...), append(p.reads, out.reads...)
	if len(p.writes) > 1 || len(p.reads) > 1 || len(p.jobs) > worldWorkers+1 {
		w.t.Fatalf("%d writes, %d reads and %d jobs at once", len(p.writes), len(p.reads), len(p.jobs))
	}
}

// checkJob: a call for suspicious mail is made under its mark, and alone.
func (w *world) checkJob(p *proc, j *job) {
	calls := slices.DeleteFunc(slices.Clone(p.jobs), func(o *job) bool { return o.bury != nil })
	if j.bury != nil {
		w.checkBurial(j)
		return
	}
	if len(j.mails) == 0 {
		w.t.Fatal("a call for no mail")
	}
	for _, o := range calls {
		if o.task.message != nil || j.task.message != nil {
			w.t.Fatal("another call while mail is handled under a mark")
		}
	}
	for _, it := range j.mails {
		if it.final {
			w.t.Fatalf("%v: mail %d is handed on after its final verdict", it.of.place, it.Index)
		}
		w.checkPlain(it)
	}
	if j.task.message == nil {
		for pl, k := range w.entries {
			if k.mark.By == p.s.instance && p.s.failing == nil && w.bucket == 0 && p.up {
				w.t.Fatalf("a call without a mark while there is the mark %v", pl)
			}
		}
		return
	}
	k := w.entries[j.task.message.place].mark
	var marked []int
	for _, it := range j.mails {
		marked = append(marked, it.Index)
	}
	if l := w.logged(j.task.message.place); !slices.Equal(k.Mails, marked) || k.By != p.s.instance && !l.disturbed && !p.disturbed {
		w.t.Fatalf("mails %v are handed on under the mark %+v", marked, k)
	}
}

// checkPlain: only a mail that gave reason to is handled without derived columns.
func (w *world) checkPlain(it *mail) {
	l := w.logged(it.of.place)
	l.plain[it.Index] = l.plain[it.Index] || it.Alone
	if it.Alone && l.panicked[it.Index] == 0 && l.found[it.Index] == 0 && !w.adopting(it) {
		w.t.Fatalf("%v: mail %d is handled plain for no reason", l.place, it.Index)
	}
}

// adopting: the mark that was found is being taken over.
func (w *world) adopting(it *mail) bool { return w.logged(it.of.place).disturbed }

func (w *world) checkBurial(j *job) {
	l, i := w.logged(j.bury.of.place), j.bury.Index
	ok := false
	switch {
	case j.reason == reasonPoison:
		ok = l.found[i] >= foundPoison
	case strings.Contains(j.reason, "failed with it twice"):
		ok = l.panicked[i] >= 2
	default:
		ok = l.natures[i] == refused
	}
	if !ok {
		w.t.Fatalf("%v: mail %d is buried (%s) after %d panics, its mark was found %d times", l.place, i, j.reason, l.panicked[i], l.found[i])
	}
}

func (w *world) checkFinal(f final) {
	l, i := w.logged(f.mail.of.place), f.mail.Index
	switch f.fate {
	case fateDone:
		if !l.done[i] {
			w.t.Fatalf("%v: mail %d is called done", l.place, i)
		}
	case fateBuried, fateKnown:
		if !l.buried[i] {
			w.t.Fatalf("%v: mail %d is called buried", l.place, i)
		}
	case fateSkipped:
		l.skipped++
		l.buried[i] = true // what there is of it
		if !w.noGrave {
			w.t.Fatalf("%v: mail %d is skipped although there is a grave", l.place, i)
		}
	default:
		w.t.Fatalf("%v: mail %d ends as %d", l.place, i, f.fate)
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
	if j.bury != nil {
		var err error
		if w.full {
			err = errors.New("no room")
		} else {
			w.logged(j.bury.of.place).buried[j.bury.Index] = true
		}
		p.s.buried(w.now, j, err)
		w.drain(p)
		return
	}
	verdicts, fault, died := w.handle(j.mails)
	if died {
		w.deaths++
		w.die(p)
		return
	}
	p.s.answered(w.now, j, verdicts, fault)
	w.drain(p)
}

// handle is the handler.
func (w *world) handle(mails []*mail) (verdicts []Verdict, fault error, died bool) {
	for _, it := range mails {
		l, i := w.logged(it.of.place), it.Index
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
		l := w.logged(it.of.place)
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
		if k.mark.By == p.s.instance {
			w.logged(pl).disturbed = true
		}
	}
	for _, wr := range p.writes {
		w.logged(wr.place).disturbed = true
	}
	w.die(p)
}

// alive is the process of that instance, nil when it has ended.
func (w *world) alive(instance string) *proc {
	for _, p := range w.procs {
		if p.s.instance == instance {
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
		p.s.written(w.now, wr, 0, errors.New("the log is away"))
		w.drain(p)
		return
	}
	have := w.entries[wr.place]
	if have.revision != wr.revision {
		w.tellEntry(p, wr.place)
		p.s.written(w.now, wr, 0, errConflict)
		w.drain(p)
		return
	}
	w.checkTakeOver(p, have.mark, wr)
	w.last++
	revision := w.last
	if wr.mark == nil {
		delete(w.entries, wr.place)
		revision = 0
	} else {
		w.entries[wr.place] = kept{*wr.mark, revision}
	}
	w.history = append(w.history, changed{wr.place, wr.mark, w.last})
	p.disturbed = false
	if w.bucket == 2 {
		p.disturbed = true
		w.logged(wr.place).disturbed = true
		p.s.written(w.now, wr, 0, errors.New("no answer"))
	} else {
		p.s.written(w.now, wr, revision, nil)
	}
	w.drain(p)
}

// tellEntry tells a process what an entry is, as who reads it after a write that failed.
func (w *world) tellEntry(p *proc, pl place) {
	if have, ok := w.entries[pl]; ok {
		p.s.know(w.now, pl, &have.mark, have.revision)
	} else {
		p.s.know(w.now, pl, nil, 0)
	}
}

// checkTakeOver: nobody takes a mark from a process that lives and can write.
func (w *world) checkTakeOver(p *proc, have mark, wr write) {
	if wr.mark == nil || wr.mark.By != p.s.instance || have.By == "" || have.By == p.s.instance {
		return
	}
	l := w.logged(wr.place)
	if x := w.alive(have.By); x != nil {
		if !x.disturbed {
			w.t.Fatalf("%v: %s takes over from %s, which lives", wr.place, p.s.instance, have.By)
		}
		l.disturbed = true
	}
	if len(have.Mails) == 1 {
		l.found[have.Mails[0]]++
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
		p.s.read(w.now, l.place, nil, errors.New("the log is away"))
	case l.acked:
		p.s.read(w.now, l.place, nil, nil)
	default:
		p.s.read(w.now, l.place, l.message(), nil)
	}
	w.drain(p)
}

// hear tells a process the next changes of the bucket.
func (w *world) hear(p *proc, n int) {
	for ; n > 0 && p.heard < len(w.history) && p.up; n-- {
		c := w.history[p.heard]
		p.heard++
		p.s.know(w.now, c.place, c.mark, c.revision)
		w.drain(p)
	}
}

func (w *world) link(p *proc, up bool) {
	p.up = up
	p.disturbed = p.disturbed || !up
	p.s.link(w.now, up)
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
			if at := p.s.wake(w.now); !at.IsZero() && at.Before(next) {
				next = at
			}
		}
		if next.After(w.now) {
			w.now = next
		}
		for _, p := range w.procs {
			p.s.tick(w.now)
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
	p.s.stop(w.now)
	w.drain(p)
}

// reap replaces the processes that have stopped.
func (w *world) reap() {
	for i, p := range w.procs {
		if p.stopped && p.s.idle() && len(p.jobs) == 0 {
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
		w.pass(time.Second)
	}
	w.checkEnd()
}

func (w *world) checkEnd() {
	for _, l := range w.logs {
		for i, n := range l.natures {
			innocent := n == good || n == killsUnlessPlain || n == panicsUnlessPlain
			switch {
			case innocent && !l.done[i] && !l.buried[i], innocent && l.buried[i] && !l.disturbed:
				w.t.Errorf("%v: mail %d of nature %d: done %v, buried %v", l.place, i, n, l.done[i], l.buried[i])
			case !innocent && !l.buried[i]:
				w.t.Errorf("%v: mail %d of nature %d is not buried", l.place, i, n)
			case n == good && l.plain[i] && !l.disturbed:
				w.t.Errorf("%v: mail %d is good and was handled plain", l.place, i)
			}
		}
	}
	for pl, k := range w.entries {
		if k.mark.By != "" {
			w.t.Errorf("%v is still marked: %+v", pl, k.mark)
		}
	}
}

func (w *world) stuck() {
	for _, l := range w.logs {
		if !l.acked {
			w.t.Errorf("%v: delivered %d times, %d holders, done %v, buried %v, entry %+v", l.place, l.delivered, len(l.holders), l.done, l.buried, w.entries[l.place])
		}
	}
	for _, p := range w.procs {
		w.t.Errorf("%s: up %v, %d tasks, %d suspects, trial %+v, calling %d, listed %v, failing %v", p.s.instance, p.up, len(p.s.tasks), len(p.s.suspects), p.s.trial, p.s.calling, p.s.listed, p.s.failing)
	}
	w.t.FailNow()
}
