package settle

import (
	"log/slog"
	"slices"
	"time"
)

// A trial is a message that has been delivered so often that one of its mails may be crashing the process. During each call of
// the handler with its mails there is a mark, an entry in the log's bucket, and no other call is under way. So if the process
// ends, the mail at fault is among the marked ones.
//
//	all of its mails under one mark ─found again─▶ one by one ─found again─▶ that one, Alone ─found again─▶ buried
//
// Found means that the entry is there, but its process no longer runs; see marks.go. The worker that finds it takes the next step
// at once.

// foundPoison is how often the mark of a single mail must have been found.
const foundPoison = 2

const reasonPoison = "the process ended twice while it handled this mail"

// suspect keeps a message until it can be tried.
func (s *Settler) suspect(m *Message) {
	if s.stopping {
		s.giveBack(m)
		return
	}
	if same := s.suspected(m.Place); same != nil { // it was taken over from another process, and is redelivered now
		same.Deliveries = append(same.Deliveries, m.Deliveries...)
		same.Delivered = max(same.Delivered, m.Delivered)
		return
	}
	s.suspects = append(s.suspects, m)
}

func (s *Settler) suspected(p Place) *Message {
	if s.trial != nil && s.trial.message.Place == p {
		return s.trial.message
	}
	for _, m := range s.suspects {
		if m.Place == p {
			return m
		}
	}
	return nil
}

// begin makes a trial of the first suspect that no other process tries.
func (s *Settler) begin(now time.Time) {
	if s.trial != nil || s.stopping || !s.up || !s.listed {
		return
	}
	for i := 0; i < len(s.suspects); i++ {
		m := s.suspects[i]
		r := s.entry(m.Place)
		lost := s.lost(now, r)
		switch {
		case len(m.Deliveries) == 0 && !lost: // somebody else has taken it over
			s.suspects = slices.Delete(s.suspects, i, i+1)
			i--
		case !lost && r.mark.By != "" && r.mark.By != s.Instance, s.writing == r:
		default:
			s.suspects = slices.Delete(s.suspects, i, i+1)
			s.trial = &task{message: m, base: r.revision}
			s.adopt(s.trial, r.mark, lost)
			return
		}
	}
}

// adopt draws the conclusions from an entry: lost says that its process ended under it.
func (s *Settler) adopt(t *task, k Mark, lost bool) {
	m := t.message
	for _, i := range k.Buried {
		if i >= 0 && i < len(m.Mails) && !m.Mails[i].final {
			m.buried = append(m.buried, i)
			s.settle(m.Mails[i], FateKnown, "")
		}
	}
	m.singly = k.Singly || lost && len(k.Mails) > 1
	for _, it := range m.Mails {
		it.doomed, it.found = false, 0 // what the entry does not say was no evidence
	}
	for i, n := range k.Found {
		if i >= 0 && i < len(m.Mails) {
			m.Mails[i].found = n
		}
	}
	if lost && len(k.Mails) == 1 && k.Mails[0] >= 0 && k.Mails[0] < len(m.Mails) {
		m.Mails[k.Mails[0]].found++
	}
	for _, it := range m.Mails {
		switch {
		case it.final:
		case it.found >= foundPoison:
			t.doom(it, reasonPoison)
		case it.found > 0:
			t.mails = slices.Insert(t.mails, 0, it)
		default:
			t.mails = append(t.mails, it)
		}
	}
	if lost {
		s.say(slog.LevelWarn, "a process ended while it handled mail; that mail is now handled by itself",
			"place", m.Place, "mails", k.Mails, "found before", k.Found, "process", k.By)
	}
}

// marked says whether the log has the mark for the next thing of a trial. If it has not, that is seen to.
func (s *Settler) marked(now time.Time, t *task) bool {
	r := s.entry(t.message.Place)
	switch want := s.wanted(now, t); {
	case s.calling > 0 || s.writing == r || s.holding(r):
		return false
	case !s.up: // mail that needs no mark goes on meanwhile, here and below
		r.want = nil
		t.due = now.Add(s.Backoff(t.tries))
		t.tries++
		return false
	case now.Before(s.retry):
		r.want = nil
		t.due = s.retry
		return false
	case r.mark.By != s.Instance && r.revision != t.base: // another process is faster
		r.want = nil
		s.forget(t)
		s.requeue(t)
		return false
	case r.mark.equal(want):
		r.want = nil
		return true
	default:
		r.want = &change{&want}
		return false
	}
}

// requeue makes a suspect of a trial again. What it has learned is in the entry, or is learned again.
func (s *Settler) requeue(t *task) {
	if len(t.message.Deliveries) > 0 {
		s.suspects = append(s.suspects, t.message)
	}
}

// wanted is the mark for the next thing of a trial.
func (s *Settler) wanted(now time.Time, t *task) Mark {
	k := s.knowledge(t)
	k.By, k.At, k.Singly = s.Instance, now, t.message.singly
	if len(t.doomed) > 0 {
		k.Mails = []int{t.doomed[0].mail.Index}
		return k
	}
	for _, it := range s.pick(t) {
		k.Mails = append(k.Mails, it.Index)
	}
	return k
}

// knowledge is what is worth knowing about a trial while nobody handles its mails, also when it is over: its message may
// come again.
func (s *Settler) knowledge(t *task) Mark {
	m := t.message
	k := Mark{Delivered: m.Delivered, Buried: slices.Clone(m.buried), Singly: m.singly && m.open > 0}
	for _, it := range m.Mails {
		if it.found > 0 {
			if k.Found == nil {
				k.Found = make(map[int]int)
			}
			k.Found[it.Index] = it.found
		}
	}
	return k
}

// release takes the mark of a trial away: whatever happens now is no evidence. What is known stays.
func (s *Settler) release(now time.Time, t *task) {
	if t.message == nil {
		return
	}
	r := s.entry(t.message.Place)
	if r.mark.By != s.Instance && s.writing != r {
		r.want = nil
		return
	}
	r.want = s.leave(now, s.knowledge(t))
}

// leave is the change to an entry that nobody holds: it goes when it says nothing.
func (s *Settler) leave(now time.Time, k Mark) *change {
	k.By, k.Doubt, k.At, k.Mails = "", "", now, nil
	if len(k.Buried) == 0 && !k.Singly && len(k.Found) == 0 {
		return &change{nil}
	}
	return &change{&k}
}
