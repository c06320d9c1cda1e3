package publish

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/stream"
)

const (
	// maxClockSkew is how far this machine's clock may be from the log's: ids carry this machine's time, and
	// retention is decided by time.
	maxClockSkew = 60 * time.Second
	// grace is how long a shard may fail before mail is refused for it: a restart or an election of a leader
	// takes a few seconds, and Publish has a minute.
	grace = 10 * time.Second
	// smallRoom: with less than this free (or 1 % of the shard, whichever is less) a shard counts as full.
	smallRoom = 256 << 10
)

// shard is what is known about one stream of the log.
type shard struct {
	number  int
	driver  *driver
	logger  *slog.Logger
	metrics *publisherMetrics
	allow   bool // unsynced is accepted

	mu         sync.Mutex
	present    bool
	durability stream.Durability
	bytes, max int64
	skew       time.Duration
	need       int64 // room that was asked for when it said "full"; 0 when there is enough
	failing    time.Time
	said       string
	horizon    horizon
}

// learn takes over what the stream says about itself; asked and heard are this machine's clock around the question.
func (s *shard) learn(info *jetstream.StreamInfo, asked, heard time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	bytes, max := int64(info.State.Bytes), info.Config.MaxBytes
	if max-bytes >= s.need || max <= 0 {
		s.need = 0
	}
	s.present = true
	s.reaches(info)
	s.bytes, s.max = bytes, max
	s.durability = stream.Durability(info.Config.Metadata[stream.DurabilityKey])
	if s.durability == "" || info.Config.PersistMode == jetstream.AsyncPersistMode {
		s.durability = stream.UnknownDurability
	}
	s.skew = stream.Skew(info.TimeStamp, asked, heard)
	s.report()
}

// gone notes that the stream does not exist.
func (s *shard) gone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.present = false
	s.report()
}

// missing says that the log has no such stream, so no mail in it either.
func (s *shard) missing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.present
}

// failed notes a publish that was not answered, or put off; worked one that was; isFull one that was refused for
// want of room. A large mail that does not fit says nothing about small ones.
func (s *shard) failed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing.IsZero() {
		s.failing = time.Now()
	}
	s.report()
}

func (s *shard) worked() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing.IsZero() && s.need == 0 {
		return
	}
	s.failing, s.need = time.Time{}, 0
	s.report()
}

func (s *shard) isFull(asked int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.need, s.failing = max(1, min(int64(asked), s.max/20)), time.Time{}
	s.report()
}

// forgive gives a shard that failed another try when it describes itself and nothing is waiting for it.
func (s *shard) forgive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.failing.IsZero() && time.Since(s.failing) > grace {
		s.failing = time.Time{}
		s.report()
	}
}

// state is nil when mail may go to this shard; suffering says that it is failing, but not for long.
func (s *shard) state() (err error, suffering bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.judge()
}

func (s *shard) judge() (err error, suffering bool) {
	name := stream.StreamName(s.number)
	switch {
	case !s.present && s.failing.IsZero():
		return fmt.Errorf("%w: stream %s is missing", ErrUnavailable, name), false
	case s.skew > maxClockSkew || s.skew < -maxClockSkew:
		return fmt.Errorf("%w: the log's clock is %v ahead of this machine's", ErrClock, s.skew.Round(time.Second)), false
	case s.present && !s.durability.Synced() && !s.allow:
		return fmt.Errorf("%w: stream %s is %s; set sync_interval: always in the NATS servers and run `sluicectl streams ensure`, or accept the risk with STREAM_ALLOW_UNSYNCED=true",
			ErrUnsynced, name, s.durability), false
	case s.need > 0: // it may have filled since it said what it holds
		return fmt.Errorf("%w: stream %s refused a message; it held %d of %d bytes before", ErrFull, name, s.bytes, s.max), false
	case s.max > 0 && s.max-s.bytes < min(smallRoom, s.max/100):
		return fmt.Errorf("%w: stream %s holds %d of %d bytes", ErrFull, name, s.bytes, s.max), false
	case !s.failing.IsZero() && time.Since(s.failing) > grace:
		return fmt.Errorf("%w: stream %s has stored nothing for %v", ErrUnavailable, name, time.Since(s.failing).Round(time.Second)), false
	}
	return nil, !s.failing.IsZero()
}

// report says a change once, in words and numbers.
func (s *shard) report() {
	err, suffering := s.judge()
	s.metrics.shard(s.number, err == nil && !suffering, s.durability)
	kind := "up"
	switch {
	case err != nil:
		kind = kindOf(err)
	case !s.durability.Synced():
		kind = "up, unsynced"
	}
	if kind == s.said || suffering {
		return
	}
	s.said = kind
	switch {
	case err != nil:
		s.logger.Error("this shard of the log takes no mail", "shard", s.number, "reason", err)
	case !s.durability.Synced():
		s.logger.Warn("STREAM_ALLOW_UNSYNCED: a 250 does NOT mean stored: the log acknowledges before its data is on disk, so a power failure loses mail",
			"shard", s.number, "durability", s.durability)
	default:
		s.logger.Info("this shard of the log takes mail", "shard", s.number, "durability", s.durability)
	}
}

// kindOf names the error for comparing with the one before; the texts differ in their numbers.
func kindOf(err error) string {
	for _, kind := range []error{ErrFull, ErrBusy, ErrUnsynced, ErrClock} {
		if errors.Is(err, kind) {
			return kind.Error()
		}
	}
	return ErrUnavailable.Error()
}

// note keeps what is known in step with an answer of the log.
func (s *shard) note(o outcome, a answer, bytes int) {
	if o == stored {
		s.acknowledged(a.Sequence)
	}
	switch {
	case o == stored || o == doubled:
		s.worked()
	case o == full:
		s.isFull(bytes)
	case a.lost != nil || o == busy: // a full disk may look like being busy, indefinitely
		s.failed()
	}
}
