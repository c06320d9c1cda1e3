package settle

import (
	"log/slog"
	"slices"
	"time"
)

// Settler decides what becomes of the messages in a worker's hands. Its methods tell it what happened and what time it is;
// what is to be done about it waits for Collect.
type Settler struct {
	Settings
	up       bool // there is a connection
	stopping bool

	shelves  []*shelf // mails that wait, by shard
	tasks    []*task
	calling  int // calls of the handler that are under way
	suspects []*Message
	trial    *task // of one of them
	pauses   map[any]error
	returned []*Message // given back to the log once the worker has stopped

	marks // what the log's bucket says, see marks.go

	out Effects
}

// Settings are the parameters of a settler.
type Settings struct {
	Instance   string                        // the name of this process
	Workers    int                           // concurrent calls of the handler
	BatchMails int                           // most mails in one call
	BatchBytes int                           // most bytes in one call, as they are in the log's messages
	Linger     time.Duration                 // how long mails may wait for a batch to fill
	Grave      bool                          // mail that cannot be handled becomes a dead letter; else it is skipped
	Backoff    func(tries int) time.Duration // wait before another attempt
	Refresh    time.Duration                 // how often the mark of a running call is refreshed
	Stale      time.Duration                 // after this time without a refresh a process is doubted, and after as long again considered dead
}

// SuspectAfter is the number of deliveries after which a message is handled under a mark. Restarts and outages alone can cause that
// many, so they do not prove that one of its mails is at fault.
const SuspectAfter = 3

// Effects are the actions that a settler asks for.
type Effects struct {
	Jobs   []*Job     // by the worker goroutines, at most one more than there are; each ends with Answered, Buried, Gone or GaveUp
	Writes []Write    // to the bucket, one at a time; ends with Written
	Reads  []Place    // of a message from the log, one at a time; ends with Read
	Acked  []*Message // to be acknowledged: each of their mails has its final verdict
	Finals []Final    // for counting
	Notes  []Note     // to be logged
	Faults int        // calls for a single mail that failed
}

// Job is a call of the handler with mails, or the burial of one.
type Job struct {
	task   *task
	Mails  []*Mail // for the handler; empty for a burial
	Bury   *Mail   // for the dead letters; nil for a call
	Reason string  // why it is buried
}

// Final is the final verdict about a mail.
type Final struct {
	Mail   *Mail
	Fate   Fate
	Reason string
}

// Fate is how a mail ended.
type Fate int

// What becomes of a mail.
const (
	FateDone       Fate = iota
	FateBuried          // a dead letter
	FateSkipped         // it would be one, but the consumer has no grave
	FateUnselected      // by a replay
	FateGone            // the log has purged it, so somebody else has settled it
	FateKnown           // buried before, as its mark says
)

// Note is a line for the log.
type Note struct {
	Level slog.Level // how loud
	Text  string
	Attrs []any // keys and values, as for slog
}

// New makes a Settler that has nothing in hand.
func New(s Settings) *Settler {
	return &Settler{Settings: s, pauses: make(map[any]error)}
}

// Collect fetches what is to be done.
func (s *Settler) Collect() Effects {
	out := s.out
	s.out = Effects{}
	return out
}

func (s *Settler) say(level slog.Level, text string, attrs ...any) {
	s.out.Notes = append(s.out.Notes, Note{level, text, attrs})
}

// Take gives it a message.
func (s *Settler) Take(now time.Time, m *Message) {
	s.enter(now, m)
	switch {
	case m.open == 0:
	case m.Delivered >= SuspectAfter:
		s.suspect(m)
	default:
		s.shelf(m.Shard).add(m)
	}
	s.advance(now)
}

func (s *Settler) enter(now time.Time, m *Message) {
	m.taken, m.open = now, len(m.Mails)
	for _, it := range m.Mails {
		it.Delivered = m.Delivered
		if it.Unselected {
			s.settle(it, FateUnselected, "")
		}
	}
}

// Refuse gives it a message that this version of the program does not understand: it is never buried.
func (s *Settler) Refuse(m *Message, why error) {
	if s.pause(tooNew, why) {
		s.say(slog.LevelError, "paused: a mail in the log requires a newer version of this program; update it", "place", m.Place, "reason", why)
	}
	s.giveBack(m)
}

// Tick tells it that time has passed.
func (s *Settler) Tick(now time.Time) { s.advance(now) }

// Link tells it whether there is a connection.
func (s *Settler) Link(now time.Time, up bool) {
	s.up = up
	s.marks.reset(now)
	s.advance(now)
}

// Stop: what is in hand is still handled, but nothing is waited for any longer.
func (s *Settler) Stop(now time.Time) {
	s.stopping = true
	for _, t := range slices.Clone(s.tasks) {
		if !t.busy && now.Before(t.due) {
			s.abandon(now, t)
		}
	}
	if s.trial != nil {
		s.release(now, s.trial)
		if !s.trial.busy {
			s.abandon(now, s.trial)
		}
	}
	s.giveBack(s.suspects...)
	s.suspects = nil
	s.advance(now)
}

// Idle says that nothing is in hand but what is returned.
func (s *Settler) Idle() bool {
	return len(s.tasks) == 0 && s.trial == nil && len(s.suspects) == 0 && !s.marks.busyWriting() &&
		!slices.ContainsFunc(s.shelves, func(b *shelf) bool { return len(b.mails) > 0 })
}

// settle is the final verdict about a mail: with the last one its message is acknowledged.
func (s *Settler) settle(it *Mail, f Fate, reason string) {
	if it.final {
		return
	}
	it.final = true
	s.out.Finals = append(s.out.Finals, Final{it, f, reason})
	if it.Of.open--; it.Of.open == 0 {
		s.out.Acked = append(s.out.Acked, it.Of)
	}
}

func (s *Settler) giveBack(all ...*Message) {
	for _, m := range all {
		if !m.returned && len(m.Deliveries) > 0 {
			m.returned = true
			s.returned = append(s.returned, m)
		}
	}
}

// advance does what can be done now.
func (s *Settler) advance(now time.Time) {
	for again := true; again; {
		s.tend(now)
		for _, t := range slices.Clone(s.tasks) {
			s.step(now, t)
		}
		s.fill(now)
		s.begin(now)
		again = s.trial != nil && s.step(now, s.trial)
	}
	s.flush(now)
}

// fill makes tasks of what waits, unless a trial wants to be alone.
func (s *Settler) fill(now time.Time) {
	for len(s.tasks) < s.Workers && !s.exclusive(now) {
		shelf := s.ready(now)
		if shelf == nil {
			return
		}
		t := &task{mails: shelf.cut(s.BatchMails, s.BatchBytes)}
		s.tasks = append(s.tasks, t)
		s.step(now, t)
	}
}

// exclusive: a trial is under way, or its mark is still there, so that no other call may be made.
func (s *Settler) exclusive(now time.Time) bool {
	return s.trial != nil && !now.Before(s.trial.due) || s.holding(nil)
}

// Wake is when it wants to be ticked, zero when nothing is due.
func (s *Settler) Wake(now time.Time) time.Time {
	var at time.Time
	soonest := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	for _, t := range s.tasks {
		if !t.busy && now.Before(t.due) {
			soonest(t.due)
		}
	}
	if s.trial != nil && !s.trial.busy && now.Before(s.trial.due) {
		soonest(s.trial.due)
	}
	if len(s.tasks) < s.Workers && !s.exclusive(now) {
		for _, b := range s.shelves {
			if len(b.mails) > 0 {
				soonest(b.mails[0].Of.taken.Add(s.Linger))
			}
		}
	}
	s.wakeMarks(now, soonest)
	return at
}
