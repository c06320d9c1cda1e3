package consume

import (
	"log/slog"
	"slices"
	"time"
)

// A trial is a message that has been delivered so often that one of its mails may be what ends the process. Each call of
// the handler with its mails is made under a mark, an entry in the log's bucket, while no other call is under way: so when
// the process ends, the mail to blame is among the marked ones.
//
//	all of its mails under one mark ─found again─▶ one by one ─found again─▶ that one plain ─found again─▶ buried
//
// Found: the entry is there and its process is not any more, see marks.go. Whoever finds it goes on at once.

// foundPoison is how often the mark of a single mail must have been found.
const foundPoison = 2

const reasonPoison = "the process ended twice while it handled this mail"

// suspect keeps a message until it can be tried.
func (s *settler) suspect(m *message) {
	if s.stopping {
		s.giveBack(m)
		return
	}
	if same := s.suspected(m.place); same != nil { // it was taken over from another process, and is redelivered now
		same.deliveries = append(same.deliveries, m.deliveries...)
		same.delivered = max(same.delivered, m.delivered)
		return
	}
	s.suspects = append(s.suspects, m)
}

func (s *settler) suspected(p place) *message {
	if s.trial != nil && s.trial.message.place == p {
		return s.trial.message
	}
	for _, m := range s.suspects {
		if m.place == p {
			return m
		}
	}
	return nil
}

// begin makes a trial of the first suspect that no other process tries.
func (s *settler) begin(now time.Time) {
	if s.trial != nil || s.stopping || !s.up || !s.listed {
		return
	}
	for i := 0; i < len(s.suspects); i++ {
		m := s.suspects[i]
		r := s.entry(m.place)
		lost := s.lost(now, r)
		switch {
		case len(m.deliveries) == 0 && !lost: // somebody else has taken it over
			s.suspects = slices.Delete(s.suspects, i, i+1)
			i--
		case !lost && r.mark.By != "" && r.mark.By != s.instance, s.writing == r:
		default:
			s.suspects = slices.Delete(s.suspects, i, i+1)
			s.trial = &task{message: m, base: r.revision}
			s.adopt(s.trial, r.mark, lost)
			return
		}
	}
}

// adopt draws the conclusions from an entry: lost says that its process ended under it.
func (s *settler) adopt(t *task, k mark, lost bool) {
	m := t.message
	for _, i := range k.Buried {
		if i >= 0 && i < len(m.mails) && !m.mails[i].final {
			m.buried = append(m.buried, i)
			s.settle(m.mails[i], fateKnown, "")
		}
	}
	m.singly = m.singly || k.Singly || lost && len(k.Mails) > 1
	if found := k.Found; len(k.Mails) == 1 && k.Mails[0] >= 0 && k.Mails[0] < len(m.mails) {
		if lost {
			found++
		}
		m.mails[k.Mails[0]].found = found
	}
	for _, it := range m.mails {
		it.doomed = false
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
		s.say(slog.LevelWarn, "a process ended while it handled mail; going on with that mail by itself",
			"place", m.place, "mails", k.Mails, "found", k.Found+1, "process", k.By)
	}
}

// marked says whether the log has the mark for the next thing of a trial. If it has not, that is seen to.
func (s *settler) marked(now time.Time, t *task) bool {
	r := s.entry(t.message.place)
	switch want := s.wanted(now, t); {
	case s.calling > 0 || s.writing == r || s.holding(r):
		return false
	case !s.up:
		t.due = now.Add(s.backoff(t.tries))
		t.tries++
		return false
	case now.Before(s.retry):
		t.due = s.retry
		return false
	case r.mark.By != s.instance && r.revision != t.base: // another process is faster
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
func (s *settler) requeue(t *task) {
	if len(t.message.deliveries) > 0 {
		s.suspects = append(s.suspects, t.message)
	}
}

// wanted is the mark for the next thing of a trial.
func (s *settler) wanted(now time.Time, t *task) mark {
	k := s.knowledge(t)
	k.By, k.At, k.Mails, k.Found = s.instance, now, nil, 0
	next := []*mail{}
	if len(t.doomed) > 0 {
		next = append(next, t.doomed[0].mail)
	} else {
		next = s.pick(t)
	}
	for _, it := range next {
		k.Mails = append(k.Mails, it.Index)
	}
	if len(next) == 1 {
		k.Found = next[0].found
	}
	return k
}

// knowledge is what is worth knowing about a trial while nobody handles its mails.
func (s *settler) knowledge(t *task) mark {
	m := t.message
	k := mark{Delivered: m.delivered, Buried: slices.Clone(m.buried)}
	if m.open == 0 {
		return k
	}
	k.Singly = m.singly
	for _, it := range m.mails {
		if !it.final && it.found > 0 {
			k.Mails, k.Found = []int{it.Index}, it.found
		}
	}
	return k
}

// release takes the mark of a trial away: whatever happens now is no evidence. What is known stays.
func (s *settler) release(now time.Time, t *task) {
	if t.message == nil {
		return
	}
	r := s.entry(t.message.place)
	if r.mark.By != s.instance && s.writing != r {
		r.want = nil
		return
	}
	r.want = s.leave(now, s.knowledge(t))
}

// leave is the change to an entry that nobody holds: it goes when it says nothing.
func (s *settler) leave(now time.Time, k mark) *change {
	k.By, k.Doubt, k.At = "", "", now
	if len(k.Buried) == 0 && !k.Singly && k.Found == 0 {
		return &change{nil}
	}
	return &change{&k}
}
