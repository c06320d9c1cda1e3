package consume

import (
	"errors"
	"log/slog"
	"slices"
	"time"
)

// settler decides what becomes of the messages in a worker's hands. It is a state machine: its methods tell it what
// happened and what time it is; what is to be done about it collects in out until collect fetches it. No clock, goroutine
// or connection is in it, so every order of events can be tested. driver.go does what it says.
//
//	take ─▶ shelf ─cut─▶ task ─call─▶ answered ─┬─ done, dead and buried ─▶ with the last mail its message is acknowledged
//	 │                    ▲                     ├─ retry: rests while nothing is fetched ─tick─▶ call
//	 │                    └─────────────────────┴─ a panic: one by one, then plain, then buried
//	 └─ delivered three times ─▶ suspects ─▶ trial: a task whose calls are made under a mark, one at a time (trial.go)
//
// Handling a mail twice changes nothing, so whatever is unclear is handled again.
type settler struct {
	settings
	up       bool // there is a connection
	stopping bool

	shelves  []*shelf // mails that wait, by shard
	tasks    []*task
	calling  int // calls of the handler that are under way
	suspects []*message
	trial    *task // of one of them
	pauses   map[any]error
	returned []*message // for others to take when the worker has stopped

	marks // what the log's bucket says, see marks.go

	out effects
}

// settings are what a settler is tuned by.
type settings struct {
	instance   string // this process
	workers    int    // calls at once
	batchMails int
	batchBytes int
	linger     time.Duration
	grave      bool                          // there is one; else what cannot be handled is skipped
	backoff    func(tries int) time.Duration // before another attempt
	refresh    time.Duration                 // of the mark of a call that takes longer
	stale      time.Duration                 // without a refresh, a mark's process is doubted, then believed to be dead
}

// suspectAfter deliveries a message is handled under a mark. Restarts and outages alone make that many, so it is no
// evidence against any of its mails.
const suspectAfter = 3

// effects are what a settler wants to be done.
type effects struct {
	jobs   []*job     // by the worker goroutines, at most one more than there are; each ends with answered, buried or gaveUp
	writes []write    // to the bucket, one at a time; ends with written
	reads  []place    // of a message from the log, one at a time; ends with read
	acked  []*message // every mail of it has its final verdict
	finals []final
	notes  []note
	faults int // calls for a single mail that failed
}

// job is a call of the handler with mails, or the burial of one.
type job struct {
	task   *task
	mails  []*mail
	bury   *mail
	reason string
}

// final is the final verdict about a mail.
type final struct {
	mail   *mail
	fate   fate
	reason string
}

type fate int

const (
	fateDone       fate = iota
	fateBuried          // a dead letter
	fateSkipped         // it would be one, but the consumer has no grave
	fateUnselected      // by a replay
	fateGone            // the log has purged it, so somebody else has settled it
	fateKnown           // buried before, as its mark says
)

// note is a line for the log.
type note struct {
	level slog.Level
	text  string
	attrs []any
}

func newSettler(s settings) *settler {
	return &settler{settings: s, pauses: make(map[any]error), marks: newMarks()}
}

// collect fetches what is to be done.
func (s *settler) collect() effects {
	out := s.out
	s.out = effects{}
	return out
}

func (s *settler) say(level slog.Level, text string, attrs ...any) {
	s.out.notes = append(s.out.notes, note{level, text, attrs})
}

// take gives it a message.
func (s *settler) take(now time.Time, m *message) {
	s.enter(now, m)
	switch {
	case m.open == 0:
	case m.delivered >= suspectAfter:
		s.suspect(m)
	default:
		s.shelf(m.shard).add(m)
	}
	s.advance(now)
}

func (s *settler) enter(now time.Time, m *message) {
	m.taken, m.open = now, len(m.mails)
	for _, it := range m.mails {
		it.Delivered = m.delivered
		if it.unselected {
			s.settle(it, fateUnselected, "")
		}
	}
}

// refuse gives it a message that this version of the program does not understand: it is never buried.
func (s *settler) refuse(m *message, why error) {
	if s.pause(tooNew, why) {
		s.say(slog.LevelError, "paused: a mail in the log requires a newer version of this program; update it", "place", m.place, "reason", why)
	}
	s.giveBack(m)
}

// Keys of pauses beside the tasks.
const (
	tooNew   = "too new"
	notReady = "not ready"
)

// pause stops the fetching until resume; false when that key has done so already.
func (s *settler) pause(key any, why error) bool {
	_, was := s.pauses[key]
	s.pauses[key] = why
	return !was
}

func (s *settler) resume(key any) bool {
	_, was := s.pauses[key]
	delete(s.pauses, key)
	return was
}

// tick tells it that time has passed.
func (s *settler) tick(now time.Time) { s.advance(now) }

// link tells it whether there is a connection.
func (s *settler) link(now time.Time, up bool) {
	s.up = up
	s.marks.reset(now)
	s.advance(now)
}

// stop: what is in hand is still handled, but nothing is waited for any longer.
func (s *settler) stop(now time.Time) {
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

// idle says that nothing is in hand but what is returned.
func (s *settler) idle() bool {
	return len(s.tasks) == 0 && s.trial == nil && len(s.suspects) == 0 && !s.marks.busyWriting() &&
		!slices.ContainsFunc(s.shelves, func(b *shelf) bool { return len(b.mails) > 0 })
}

// settle is the final verdict about a mail: with the last one its message is acknowledged.
func (s *settler) settle(it *mail, f fate, reason string) {
	if it.final {
		return
	}
	it.final = true
	s.out.finals = append(s.out.finals, final{it, f, reason})
	if it.of.open--; it.of.open == 0 {
		s.out.acked = append(s.out.acked, it.of)
	}
}

func (s *settler) giveBack(all ...*message) {
	for _, m := range all {
		if !m.returned && len(m.deliveries) > 0 {
			m.returned = true
			s.returned = append(s.returned, m)
		}
	}
}

// advance does what can be done now.
func (s *settler) advance(now time.Time) {
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
func (s *settler) fill(now time.Time) {
	for len(s.tasks) < s.workers && !s.exclusive(now) {
		shelf := s.ready(now)
		if shelf == nil {
			return
		}
		t := &task{mails: shelf.cut(s.batchMails, s.batchBytes)}
		s.tasks = append(s.tasks, t)
		s.step(now, t)
	}
}

// exclusive: a trial is under way, or its mark is still there, so that no other call may be made.
func (s *settler) exclusive(now time.Time) bool {
	return s.trial != nil && !now.Before(s.trial.due) || s.holding(nil)
}

// wake is when it wants to be ticked, zero when nothing is due.
func (s *settler) wake(now time.Time) time.Time {
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
	if len(s.tasks) < s.workers && !s.exclusive(now) {
		for _, b := range s.shelves {
			if len(b.mails) > 0 {
				soonest(b.mails[0].of.taken.Add(s.linger))
			}
		}
	}
	s.wakeMarks(now, soonest)
	return at
}

// hungry says that a shard should be fetched from.
func (s *settler) hungry(shard int) bool {
	if len(s.pauses) > 0 || s.stopping {
		return false
	}
	mails, bytes := 0, 0
	if b := s.shelf(shard); b != nil {
		mails, bytes = len(b.mails), b.bytes
	}
	for _, m := range s.suspects {
		if m.shard == shard {
			mails, bytes = mails+len(m.mails), bytes+m.bytes
		}
	}
	return mails < (s.batchMails+3)/4 && bytes < s.batchBytes/4
}

// trouble says why nothing is fetched, nil when it is.
func (s *settler) trouble() error {
	var why []string
	for _, err := range s.pauses {
		text := "paused"
		if err != nil {
			text = err.Error()
		}
		if !slices.Contains(why, text) {
			why = append(why, text)
		}
	}
	if s.failing != nil {
		why = append(why, s.failing.Error())
	}
	if len(why) == 0 {
		return nil
	}
	slices.Sort(why)
	return errors.New(joined(why))
}
