package settle

import (
	"errors"
	"maps"
	"slices"
	"time"
)

// Mark is an entry of stream.MarksBucket: what processes tell each other about one message. Its key says which consumer
// and which message.
type Mark struct {
	// By is the process that handles the mails now. Empty: none does; the other fields keep what is known of the message.
	By string    `json:"by,omitempty"`
	At time.Time `json:"at"` // when it was written
	// Delivered is how often the message had been delivered.
	Delivered uint64 `json:"delivered,omitempty"`
	// Mails are those that are being handled, by their index in the message, from 0.
	Mails []int `json:"mails,omitempty"`
	// Singly: a process has ended while it handled several of them, so they are now handled one by one. Found says how often
	// a mark for a single mail was found, by the mail's index. Buried are the indexes of mails that are dead letters already.
	Singly bool        `json:"singly,omitempty"`
	Found  map[int]int `json:"found,omitempty"`
	Buried []int       `json:"buried,omitempty"`
	// Doubt names a process that has written to the entry because By did not refresh its mark in time; By removes it if it
	// still runs.
	Doubt string `json:"doubt,omitempty"`
}

// equal says whether both say the same, apart from the time.
func (k Mark) equal(o Mark) bool {
	return k.By == o.By && k.Delivered == o.Delivered && maps.Equal(k.Found, o.Found) && k.Singly == o.Singly && k.Doubt == o.Doubt &&
		slices.Equal(k.Mails, o.Mails) && slices.Equal(k.Buried, o.Buried)
}

// marks is what the settler knows of the entries in the bucket, and how they should change. A change succeeds only if the entry
// still has the known revision, so of two processes that want an entry only one gets it.
//
// A process is considered dead when it has not refreshed its mark for some time, another process has noted its doubt in the
// entry, and the mark is not refreshed after that either. Only time with a connection counts, and the doubt must have been
// written, so an outage of the log makes no process look dead.
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
	Place
	mark     Mark
	revision uint64    // 0: there is no entry
	seen     uint64    // the newest revision that was told
	since    time.Time // when that was
	told     bool      // since the listing began
	ended    bool      // its deletion was reported, so nothing older can follow
	want     *change
}

// change is what an entry should become; without a mark it is deleted.
type change struct{ mark *Mark }

// Write is one change, for the entry at that revision only; 0: there must be none.
type Write struct {
	Place
	Revision uint64 // of the entry as it was read; 0: there is none yet
	Mark     *Mark  // nil deletes the entry
}

// ErrConflict: the entry had another revision; its current state was reported before.
var ErrConflict = errors.New("the entry was changed by another process")

func (s *Settler) entry(p Place) *entry {
	for _, r := range s.entries {
		if r.Place == p {
			return r
		}
	}
	r := &entry{Place: p}
	s.entries = append(s.entries, r)
	return r
}

// Listing tells that the entries will be told anew, all of them until listed.
func (s *Settler) Listing() {
	s.listed = false
	for _, r := range s.entries {
		r.told = false
	}
}

// Listed tells that there are no entries but those that were told.
func (s *Settler) Listed(now time.Time) {
	s.listed = true
	for _, r := range s.entries {
		if !r.told && s.writing != r {
			r.mark, r.revision, r.ended = Mark{}, 0, true
		}
	}
	s.advance(now)
}

// Know tells an entry as it is; without a mark there is none. Revision 0 says that somebody looked, and there was none.
func (s *Settler) Know(now time.Time, p Place, k *Mark, revision uint64) {
	r := s.entry(p)
	r.told = true
	if revision > 0 && revision <= r.seen {
		return
	}
	r.seen, r.since = max(r.seen, revision), now
	if k == nil {
		r.mark, r.revision, r.ended = Mark{}, 0, true
	} else {
		r.mark, r.revision, r.ended = *k, revision, false
	}
	s.advance(now)
}

// Written tells how a write ended, and at which revision the entry is then.
func (s *Settler) Written(now time.Time, w Write, revision uint64, err error) {
	r, sent := s.writing, s.sent
	s.writing, s.sent = nil, nil
	claim := w.Mark != nil && w.Mark.By == s.Instance
	switch {
	case err == nil:
		s.failing, s.tries = nil, 0
		r.mark, r.revision, r.since, r.told = Mark{}, revision, now, true
		r.seen = max(r.seen, revision)
		if w.Mark != nil {
			r.mark, r.ended = *w.Mark, false
		}
		if r.want == sent {
			r.want = nil
		}
		if s.trial != nil && s.trial.message.Place == r.Place {
			s.trial.base = revision
		}
	case errors.Is(err, ErrConflict):
		r.want = nil
	default:
		s.failing = err
		s.retry = now.Add(s.Backoff(s.tries))
		s.tries++
		if claim || s.stopping {
			r.want = nil
		}
		s.listed = s.listed && !s.stopping // then it gives up
	}
	s.advance(now)
}

// Read tells what the log has at the place of a mark that was found; nil without an error: nothing any more.
func (s *Settler) Read(now time.Time, p Place, m *Message, err error) {
	s.reading = false
	r := s.entry(p)
	switch {
	case err != nil:
		r.since = now // and again later
	case m == nil:
		r.want = &change{nil}
	case s.suspected(p) == nil && !s.stopping:
		m.Delivered = r.mark.Delivered
		s.enter(now, m)
		s.suspects = append(s.suspects, m)
	}
	s.advance(now)
}

// lost: the process of a mark has ended under it.
func (s *Settler) lost(now time.Time, r *entry) bool {
	return r.revision > 0 && r.mark.By != "" && r.mark.By != s.Instance && r.mark.Doubt != "" && s.silent(now, r)
}

// holding: another entry than r has a mark of this process, which is about to go, or may have one any moment. When the
// bucket takes no writes, nothing waits for what is there.
func (s *Settler) holding(r *entry) bool {
	return slices.ContainsFunc(s.entries, func(o *entry) bool {
		claimed := s.writing == o && s.sent.mark != nil && s.sent.mark.By == s.Instance
		return o != r && (claimed || o.mark.By == s.Instance && s.up && s.failing == nil)
	})
}

// Holds says whether the entry of that place has a mark of this process, as far as is known.
func (s *Settler) Holds(p Place) bool {
	return slices.ContainsFunc(s.entries, func(r *entry) bool {
		return r.Place == p && (r.mark.By == s.Instance || s.writing == r || r.want != nil)
	})
}

func (s *Settler) silent(now time.Time, r *entry) bool { return s.up && now.Sub(r.since) >= s.Stale }

// tend looks after the entries: refreshes its own, doubts those of others, and takes over those of the dead.
func (s *Settler) tend(now time.Time) {
	if !s.up || !s.listed {
		return
	}
	s.entries = slices.DeleteFunc(s.entries, func(r *entry) bool {
		return r.revision == 0 && r.want == nil && s.writing != r && (r.ended || r.seen == 0)
	})
	for _, r := range s.entries {
		switch {
		case r.revision == 0 || r.want != nil || s.writing == r || r.mark.By == "":
		case r.mark.By == s.Instance:
			s.tendOwn(now, r)
		case s.stopping || !s.silent(now, r):
		case r.mark.Doubt == "":
			k := r.mark
			k.Doubt = s.Instance
			r.want = &change{&k}
		case !s.reading && s.suspected(r.Place) == nil:
			s.reading = true
			s.out.Reads = append(s.out.Reads, r.Place)
		}
	}
}

// tendOwn refreshes a mark while what it stands for is under way, and takes it away when it is not.
func (s *Settler) tendOwn(now time.Time, r *entry) {
	t := s.trial
	switch {
	case t == nil || t.message.Place != r.Place || now.Before(t.due) || !t.busy && s.calling > 0:
		r.want = s.leave(now, r.mark)
	case r.mark.Doubt != "" || t.busy && now.Sub(r.since) >= s.Refresh:
		k := r.mark
		k.Doubt, k.At = "", now
		r.want = &change{&k}
	}
}

// flush makes the next write.
func (s *Settler) flush(now time.Time) {
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
			s.out.Writes = append(s.out.Writes, Write{r.Place, r.revision, r.want.mark})
			return
		}
	}
}

func (s *Settler) wakeMarks(now time.Time, soonest func(time.Time)) {
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
		case r.mark.By == s.Instance:
			later(r.since.Add(s.Refresh))
		default:
			later(r.since.Add(s.Stale))
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
