package settle

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// task is a group of mails that wait for their final verdicts: the handler is called with them until each has one.
type task struct {
	mails  []*Mail  // without a verdict
	doomed []burial // to be buried
	busy   bool     // a job of it is under way
	single bool     // its mails are handed on one by one
	tries  int      // attempts that had to be repeated, in a row
	due    time.Time

	// Of a trial, see trial.go.
	message *Message // nil: not a trial
	base    uint64   // the revision of the entry that is its own, or that it takes over
}

type burial struct {
	mail   *Mail
	reason string
}

// step does the next things of a task that can be done; it says whether the task has ended.
func (s *Settler) step(now time.Time, t *task) (ended bool) {
	for !t.busy && !now.Before(t.due) {
		switch {
		case len(t.doomed) == 0 && len(t.mails) == 0:
			s.finish(now, t)
			return true
		case len(t.doomed) > 0 && !s.Grave:
			s.buryDone(t, t.doomed[0].mail, FateSkipped)
		case t.message != nil && s.stopping:
			s.abandon(now, t)
			return true
		case t.message != nil && !s.marked(now, t):
			return s.trial != t
		case len(t.doomed) > 0:
			t.busy = true
			s.out.Jobs = append(s.out.Jobs, &Job{task: t, Bury: t.doomed[0].mail, Reason: t.doomed[0].reason})
		case t.message == nil && s.exclusive(now):
			return false
		default:
			s.call(t)
		}
	}
	return false
}

// pick is what the next call of a task is about.
func (s *Settler) pick(t *task) []*Mail {
	if t.single || t.mails[0].suspicious() || t.message != nil && t.message.singly {
		return t.mails[:1]
	}
	n, _ := fitting(t.mails, s.BatchMails, s.BatchBytes)
	return t.mails[:n]
}

func (s *Settler) call(t *task) {
	mails := slices.Clone(s.pick(t))
	for _, it := range mails {
		it.Alone = len(mails) == 1 && it.suspicious()
	}
	t.busy = true
	s.calling++
	s.out.Jobs = append(s.out.Jobs, &Job{task: t, Mails: mails})
}

// Answered tells what the handler said about the mails of a job. A fault is a panic or an answer of the wrong length: a
// bug, not a state of the world.
func (s *Settler) Answered(now time.Time, j *Job, verdicts []Verdict, fault error) {
	t := j.task
	t.busy = false
	s.calling--
	var why error
	again := 0
	if fault != nil {
		s.fault(t, j, fault)
	}
	for i, v := range verdicts {
		switch v.kind {
		case done:
			s.settle(j.Mails[i], FateDone, "")
		case dead:
			t.doom(j.Mails[i], v.reason)
		case noVerdict: // it was not handed on yet
		default:
			again, why = again+1, v.err
		}
	}
	t.mails = slices.DeleteFunc(t.mails, func(it *Mail) bool { return it.final || it.doomed })
	if again > 0 {
		if why == nil {
			why = errors.New("the handler asked for another try")
		}
		s.rest(now, t, "cannot handle mail now; keeping it and retrying until it works", why)
	} else {
		s.recovered(t)
	}
	s.advance(now)
}

func (t *task) doom(it *Mail, reason string) {
	it.doomed = true
	t.doomed = append(t.doomed, burial{it, oneLine(reason)})
}

// fault: of several mails, the one to blame is found by handing them on one by one. That one is handed on plain, and is
// buried when that does not help either. The others keep their derived columns.
func (s *Settler) fault(t *task, j *Job, fault error) {
	if len(j.Mails) > 1 {
		t.single = true
		return
	}
	it := j.Mails[0]
	it.panics++
	s.out.Faults++
	if it.panics > 1 {
		t.doom(it, fmt.Sprintf("the handler failed twice with this mail: %v", fault))
		return
	}
	s.say(slog.LevelError, "a mail made the handler fail; it is tried once more, without optional steps", "id", it.Key(), "error", fault)
}

// Buried tells that a dead letter was written, or why not.
func (s *Settler) Buried(now time.Time, j *Job, err error) {
	t := j.task
	t.busy = false
	if err != nil {
		why := fmt.Errorf("writing a dead letter: %w (make room with: sluicectl dead retry or dead drop)", err)
		s.rest(now, t, "paused: a mail cannot be stored and its dead letter cannot be written", why)
	} else {
		s.buryDone(t, j.Bury, FateBuried)
	}
	s.advance(now)
}

// Gone tells that the log does not have the message any more: somebody else has settled it, and nothing is wrong with it.
func (s *Settler) Gone(now time.Time, j *Job) {
	j.task.busy = false
	s.buryDone(j.task, j.Bury, FateGone)
	s.advance(now)
}

func (s *Settler) buryDone(t *task, it *Mail, f Fate) {
	reason := t.doomed[0].reason
	t.doomed = t.doomed[1:]
	if m := t.message; m != nil {
		m.buried = append(m.buried, it.Index)
	}
	s.settle(it, f, reason)
	s.recovered(t)
}

// GaveUp tells that a job was not done because the worker stops.
func (s *Settler) GaveUp(now time.Time, j *Job) {
	j.task.busy = false
	if j.Bury == nil {
		s.calling--
	}
	s.abandon(now, j.task)
	s.advance(now)
}

// rest keeps a task for later.
func (s *Settler) rest(now time.Time, t *task, what string, why error) {
	if s.stopping {
		s.abandon(now, t)
		return
	}
	t.due = now.Add(s.Backoff(t.tries))
	t.tries++
	if s.pause(t, why) {
		s.say(slog.LevelWarn, what, "mails", len(t.mails)+len(t.doomed), "reason", why)
	}
}

// recovered: what a task waited for is there again. The others, which wait for the same, need not wait any longer.
func (s *Settler) recovered(t *task) {
	t.tries = 0
	if !s.resume(t) {
		return
	}
	if !s.stopping {
		s.say(slog.LevelInfo, "resumed")
	}
	for _, other := range s.tasks {
		other.due = time.Time{}
	}
	if s.trial != nil {
		s.trial.due = time.Time{}
	}
}

// finish ends a task whose mails have their verdicts.
func (s *Settler) finish(now time.Time, t *task) {
	s.recovered(t)
	s.release(now, t)
	s.forget(t)
}

// abandon ends a task for now: its messages are for others to take.
func (s *Settler) abandon(now time.Time, t *task) {
	s.resume(t)
	s.release(now, t)
	for _, it := range t.mails {
		s.giveBack(it.Of)
	}
	for _, d := range t.doomed {
		s.giveBack(d.mail.Of)
	}
	s.forget(t)
}

func (s *Settler) forget(t *task) {
	if s.trial == t {
		s.trial = nil
	}
	s.tasks = slices.DeleteFunc(s.tasks, func(u *task) bool { return u == t })
}

func joined(why []string) string { return strings.Join(why, "; ") }

// maxReason keeps a reason, which may quote an error of any length, to what fits a header and a log line.
const maxReason = 500

// oneLine makes a text fit for a header.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "") + "…"
	}
	if s == "" {
		s = "no reason given"
	}
	return s
}
