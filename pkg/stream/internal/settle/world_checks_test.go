package settle

import (
	"slices"
	"strings"
)

// checkJob: a call for suspicious mail is made under its mark, and alone.
func (w *world) checkJob(p *proc, j *Job) {
	calls := slices.DeleteFunc(slices.Clone(p.jobs), func(o *Job) bool { return o.Bury != nil })
	if j.Bury != nil {
		w.checkBurial(j)
		return
	}
	if len(j.Mails) == 0 {
		w.t.Fatal("a call for no mail")
	}
	for _, o := range calls {
		if o.task.message != nil || j.task.message != nil {
			w.t.Fatal("another call while mail is handled under a mark")
		}
	}
	for _, it := range j.Mails {
		if it.final {
			w.t.Fatalf("%v: mail %d is handed on after its final verdict", it.Of.Place, it.Index)
		}
		w.checkPlain(it)
	}
	if j.task.message == nil {
		for pl, k := range w.entries {
			if k.mark.By == p.s.Instance && p.s.failing == nil && w.bucket == 0 && p.up {
				w.t.Fatalf("a call without a mark while there is the mark %v", pl)
			}
		}
		return
	}
	k := w.entries[j.task.message.Place].mark
	var marked []int
	for _, it := range j.Mails {
		marked = append(marked, it.Index)
	}
	if l := w.logged(j.task.message.Place); !slices.Equal(k.Mails, marked) || k.By != p.s.Instance && !l.disturbed && !p.disturbed {
		w.t.Fatalf("mails %v are handed on under the mark %+v", marked, k)
	}
}

// checkPlain: only a mail that gave reason to is handled without derived columns.
func (w *world) checkPlain(it *Mail) {
	l := w.logged(it.Of.Place)
	l.plain[it.Index] = l.plain[it.Index] || it.Alone
	if it.Alone && l.panicked[it.Index] == 0 && l.found[it.Index] == 0 && !w.adopting(it) {
		w.t.Fatalf("%v: mail %d is handled plain for no reason", l.Place, it.Index)
	}
}

// adopting: the mark that was found is being taken over.
func (w *world) adopting(it *Mail) bool { return w.logged(it.Of.Place).disturbed }

func (w *world) checkBurial(j *Job) {
	l, i := w.logged(j.Bury.Of.Place), j.Bury.Index
	ok := false
	switch {
	case j.Reason == reasonPoison:
		ok = l.found[i] >= foundPoison
	case strings.Contains(j.Reason, "failed twice with this mail"):
		ok = l.panicked[i] >= 2
	default:
		ok = l.natures[i] == refused
	}
	if !ok {
		w.t.Fatalf("%v: mail %d is buried (%s) after %d panics, its mark was found %d times", l.Place, i, j.Reason, l.panicked[i], l.found[i])
	}
}

func (w *world) checkFinal(f Final) {
	l, i := w.logged(f.Mail.Of.Place), f.Mail.Index
	switch f.Fate {
	case FateDone:
		if !l.done[i] {
			w.t.Fatalf("%v: mail %d is called done", l.Place, i)
		}
	case FateBuried, FateKnown:
		if !l.buried[i] {
			w.t.Fatalf("%v: mail %d is called buried", l.Place, i)
		}
	case FateSkipped:
		l.skipped++
		l.buried[i] = true // what there is of it
		if !w.noGrave {
			w.t.Fatalf("%v: mail %d is skipped although there is a grave", l.Place, i)
		}
	default:
		w.t.Fatalf("%v: mail %d ends as %d", l.Place, i, f.Fate)
	}
}

// checkDeath: the mail to blame is among those that were marked, if any were. Only a process that could not take its mark
// away goes on without.
func (w *world) checkDeath(p *proc, j *Job) {
	for pl, k := range w.entries {
		if k.mark.By != p.s.Instance || j.task.message != nil && j.task.message.Place == pl {
			continue
		}
		if !p.disturbed && !p.unsure {
			w.t.Fatalf("%s ends with a mail of %v under its mark of %v", p.s.Instance, j.Mails[0].Of.Place, pl)
		}
		w.logged(pl).disturbed = true
	}
}

// checkStopped: an orderly stop leaves no mark behind, unless the log was away.
func (w *world) checkStopped(p *proc) {
	for pl, k := range w.entries {
		if k.mark.By != p.s.Instance {
			continue
		}
		if !p.disturbed && !p.unsure {
			w.t.Fatalf("%s stopped and left its mark of %v", p.s.Instance, pl)
		}
		w.logged(pl).disturbed = true
	}
}

// checkTakeOver: nobody takes a mark from a process that lives and can write.
func (w *world) checkTakeOver(p *proc, have Mark, wr Write) {
	if wr.Mark == nil || wr.Mark.By != p.s.Instance || have.By == "" || have.By == p.s.Instance {
		return
	}
	l := w.logged(wr.Place)
	if x := w.alive(have.By); x != nil {
		if !x.disturbed {
			w.t.Fatalf("%v: %s takes over from %s, which lives", wr.Place, p.s.Instance, have.By)
		}
		l.disturbed = true
	}
	if len(have.Mails) == 1 {
		l.found[have.Mails[0]]++
	}
}

func (w *world) checkEnd() {
	for _, l := range w.logs {
		for i, n := range l.natures {
			innocent := n == good || n == killsUnlessPlain || n == panicsUnlessPlain
			switch {
			case innocent && !l.done[i] && !l.buried[i], innocent && l.buried[i] && !l.disturbed:
				w.t.Errorf("%v: mail %d of nature %d: done %v, buried %v", l.Place, i, n, l.done[i], l.buried[i])
			case !innocent && !l.buried[i]:
				w.t.Errorf("%v: mail %d of nature %d is not buried", l.Place, i, n)
			case n == good && l.plain[i] && !l.disturbed:
				w.t.Errorf("%v: mail %d is good and was handled plain", l.Place, i)
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
			w.t.Errorf("%v: delivered %d times, %d holders, done %v, buried %v, entry %+v", l.Place, l.delivered, len(l.holders), l.done, l.buried, w.entries[l.Place])
		}
	}
	for _, p := range w.procs {
		w.t.Errorf("%s: up %v, %d tasks, %d suspects, trial %+v, calling %d, listed %v, failing %v", p.s.Instance, p.up, len(p.s.tasks), len(p.s.suspects), p.s.trial, p.s.calling, p.s.listed, p.s.failing)
	}
	w.t.FailNow()
}
