package settle

import (
	"errors"
	"log/slog"
	"slices"
)

// Keys of pauses beside the tasks.
const (
	tooNew   = "too new"
	notReady = "not ready"
)

// NotReady tells that what the handler needs is not there yet, so that nothing should be fetched.
func (s *Settler) NotReady(why error) {
	if s.pause(notReady, why) {
		s.say(slog.LevelWarn, "not consuming yet; retrying until it is possible", "reason", why)
	}
}

// Ready tells that it is.
func (s *Settler) Ready() {
	if s.resume(notReady) {
		s.say(slog.LevelInfo, "resumed")
	}
}

// TooNew is why a message could not be understood, nil when all of them could.
func (s *Settler) TooNew() error { return s.pauses[tooNew] }

// Returned are the messages that are for others to take.
func (s *Settler) Returned() []*Message { return s.returned }

// pause stops the fetching until resume; false when that key has done so already.
func (s *Settler) pause(key any, why error) bool {
	_, was := s.pauses[key]
	s.pauses[key] = why
	return !was
}

func (s *Settler) resume(key any) bool {
	_, was := s.pauses[key]
	delete(s.pauses, key)
	return was
}

// Hungry says that a shard should be fetched from.
func (s *Settler) Hungry(shard int) bool {
	if len(s.pauses) > 0 || s.stopping {
		return false
	}
	mails, bytes := 0, 0
	if b := s.shelf(shard); b != nil {
		mails, bytes = len(b.mails), b.bytes
	}
	for _, m := range s.suspects {
		if m.Shard == shard {
			mails, bytes = mails+len(m.Mails), bytes+m.Bytes
		}
	}
	return mails < (s.BatchMails+3)/4 && bytes < s.BatchBytes/4
}

// Trouble says why nothing is fetched, nil when it is.
func (s *Settler) Trouble() error {
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
