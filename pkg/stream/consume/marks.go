package consume

import (
	"errors"
	"maps"
	"slices"
	"time"
)

// mark is an entry of stream.MarksBucket: what processes tell each other about one message. Its key says which consumer
// and which message.
type mark struct {
	// By is the process that handles the mails now. Empty: nobody does; the rest is known from before.
	By string    `json:"by,omitempty"`
	At time.Time `json:"at"`
	// Delivered is how often the message had been delivered.
	Delivered uint64 `json:"delivered,omitempty"`
	// Mails are those that are handled, by their place in the message, from 0.
	Mails []int `json:"mails,omitempty"`
	// Singly: a process has ended with several of them, so they are handled one by one. Found says of which mails the own
	// mark was found, and how often. Buried are dead letters already.
	Singly bool        `json:"singly,omitempty"`
	Found  map[int]int `json:"found,omitempty"`
	Buried []int       `json:"buried,omitempty"`
	// Doubt is a process that asks whether By still lives: the log takes writes, and By has not refreshed its mark.
	Doubt string `json:"doubt,omitempty"`
}

// equal says whether both say the same, at whatever time.
func (k mark) equal(o mark) bool {
	return k.By == o.By && k.Delivered == o.Delivered && maps.Equal(k.Found, o.Found) && k.Singly == o.Singly && k.Doubt == o.Doubt &&
		slices.Equal(k.Mails, o.Mails) && slices.Equal(k.Buried, o.Buried)
}

// marks is what the settler knows of the entries in the bucket, and what they should become. An entry changes only as long
// as it has the revision that is known: of two processes that want it, one gets it.
//
// A process is believed to be dead when it has not refreshed its mark for some time, was doubted in the entry itself, and
// has not refreshed it then either. Time counts only while there is a connection, and the doubt could be written: so an
// outage of the log kills nobody.
type marks struct {
	listed  bool // the entries there were at the beginning are known
	entries []*entry
	writing *entry // its change is under way
	sent    *change
	reading bool // a message is being read
	retry   time.Time
	tries   int
	failing error // why the last write failed
}

// entry is one of them.
type entry struct {
	place
	mark     mark
	revision uint64    // 0: there is no entry
	seen     uint64    // the newest revision that was told
	since    time.Time // when that was
	told     bool      // since the listing began
	ended    bool      // its end was told, so that nothing older is still to come
	want     *change
}

// change is what an entry should become; without a mark it goes.
type change struct{ mark *mark }

// write is one change, for the entry at that revision only; 0: there must be none.
type write struct {
	place
	revision uint64
	mark     *mark
}

// errConflict: the entry had another revision; what it is now was told before.
var errConflict = errors.New("the entry was changed by another process")

func newMarks() marks { return marks{} }

func (s *settler) entry(p place) *entry {
	for _, r := range s.entries {
		if r.place == p {
			return r
		}
	}
	r := &entry{place: p}
	s.entries = append(s.entries, r)
	return r
}

// listing tells that the entries will be told anew, all of them until listed.
func (s *settler) listing() {
	s.listed = false
	for _, r := range s.entries {
		r.told = false
	}
}

// list tells that there are no entries but those that were told.
func (s *settler) list(now time.Time) {
	s.listed = true
	for _, r := range s.entries {
		if !r.told && s.writing != r {
			r.mark, r.revision, r.ended = mark{}, 0, true
		}
	}
	s.advance(now)
}

// know tells an entry as it is; without a mark there is none. Revision 0 says that somebody looked, and there was none.
func (s *settler) know(now time.Time, p place, k *mark, revision uint64) {
	r := s.entry(p)
	r.told = true
	if revision > 0 && revision <= r.seen {
		return
	}
	r.seen, r.since = max(r.seen, revision), now
	if k == nil {
		r.mark, r.revision, r.ended = mark{}, 0, true
	} else {
		r.mark, r.revision, r.ended = *k, revision, false
	}
	s.advance(now)
}

// written tells how a write ended, and at which revision the entry is then.
func (s *settler) written(now time.Time, w write, revision uint64, err error) {
	r, sent := s.writing, s.sent
	s.writing, s.sent = nil, nil
	claim := w.mark != nil && w.mark.By == s.instance
	switch {
	case err == nil:
		s.failing, s.tries = nil, 0
		r.mark, r.revision, r.since, r.told = mark{}, revision, now, true
		r.seen = max(r.seen, revision)
		if w.mark != nil {
			r.mark, r.ended = *w.mark, false
		}
		if r.want == sent {
			r.want = nil
		}
		if s.trial != nil && s.trial.message.place == r.place {
			s.trial.base = revision
		}
	case errors.Is(err, errConflict):
		r.want = nil
	default:
		s.failing = err
		s.retry = now.Add(s.backoff(s.tries))
		s.tries++
		if claim || s.stopping {
			r.want = nil
		}
		s.listed = s.listed && !s.stopping // then it gives up
		if claim && s.trial != nil && s.trial.message.place == r.place && !s.trial.busy {
			s.trial.due = s.retry // mail that needs no mark goes on
		}
	}
	s.advance(now)
}

// read tells what the log has at the place of a mark that was found; nil without an error: nothing any more.
func (s *settler) read(now time.Time, p place, m *message, err error) {
	s.reading = false
	r := s.entry(p)
	switch {
	case err != nil:
		r.since = now // and again later
	case m == nil:
		r.want = &change{nil}
	case s.suspected(p) == nil && !s.stopping:
		m.delivered = r.mark.Delivered
		s.enter(now, m)
		s.suspects = append(s.suspects, m)
	}
	s.advance(now)
}

// lost: the process of a mark has ended under it.
func (s *settler) lost(now time.Time, r *entry) bool {
	return r.revision > 0 && r.mark.By != "" && r.mark.By != s.instance && r.mark.Doubt != "" && s.silent(now, r)
}

// holding: another entry than r has a mark of this process, which is about to go. When that cannot be written, nothing
// waits for it.
func (s *settler) holding(r *entry) bool {
	return s.up && s.failing == nil && slices.ContainsFunc(s.entries, func(o *entry) bool { return o != r && o.mark.By == s.instance })
}

func (s *settler) silent(now time.Time, r *entry) bool { return s.up && now.Sub(r.since) >= s.stale }

// tend looks after the entries: refreshes its own, doubts those of others, and takes over those of the dead.
func (s *settler) tend(now time.Time) {
	if !s.up || !s.listed {
		return
	}
	s.entries = slices.DeleteFunc(s.entries, func(r *entry) bool {
		return r.revision == 0 && r.want == nil && s.writing != r && (r.ended || r.seen == 0)
	})
	for _, r := range s.entries {
		switch {
		case r.revision == 0 || r.want != nil || s.writing == r || r.mark.By == "":
		case r.mark.By == s.instance:
			s.tendOwn(now, r)
		case s.stopping || !s.silent(now, r):
		case r.mark.Doubt == "":
			k := r.mark
			k.Doubt = s.instance
			r.want = &change{&k}
		case !s.reading && s.suspected(r.place) == nil:
			s.reading = true
			s.out.reads = append(s.out.reads, r.place)
		}
	}
}

// tendOwn refreshes a mark while what it stands for is under way, and takes it away when it is not.
func (s *settler) tendOwn(now time.Time, r *entry) {
	t := s.trial
	switch {
	case t == nil || t.message.place != r.place || now.Before(t.due):
		r.want = s.leave(now, r.mark)
	case r.mark.Doubt != "" || t.busy && now.Sub(r.since) >= s.refresh:
		k := r.mark
		k.Doubt, k.At = "", now
		r.want = &change{&k}
	}
}

// flush makes the next write.
func (s *settler) flush(now time.Time) {
	if s.stopping && !s.up {
		for _, r := range s.entries {
			r.want = nil
		}
	}
	if s.writing != nil || !s.up || now.Before(s.retry) {
		return
	}
	for _, r := range s.entries {
		if r.want != nil && r.want.mark == nil && r.revision == 0 {
			r.want = nil
		}
		if r.want != nil {
			s.writing, s.sent = r, r.want
			s.out.writes = append(s.out.writes, write{r.place, r.revision, r.want.mark})
			return
		}
	}
}

func (s *settler) wakeMarks(now time.Time, soonest func(time.Time)) {
	later := func(t time.Time) {
		if t.After(now) {
			soonest(t)
		}
	}
	for _, r := range s.entries {
		switch {
		case r.want != nil:
			later(s.retry)
		case r.revision == 0 || r.mark.By == "":
		case r.mark.By == s.instance:
			later(r.since.Add(s.refresh))
		default:
			later(r.since.Add(s.stale))
		}
	}
}

// busyWriting: the bucket does not yet say what it should.
func (m *marks) busyWriting() bool {
	return m.writing != nil || slices.ContainsFunc(m.entries, func(r *entry) bool { return r.want != nil })
}

// reset: the silence of others counts from now on only.
func (m *marks) reset(now time.Time) {
	for _, r := range m.entries {
		r.since = now
	}
}
