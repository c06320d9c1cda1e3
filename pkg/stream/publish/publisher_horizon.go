package publish

import (
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// horizon is the sequence that a shard must have reached, because it acknowledged it to this process. Retention may purge old
// messages, but the last sequence of a stream never decreases.
type horizon struct {
	created time.Time
	acked   uint64 // the highest sequence acknowledged
	asked   uint64 // the same when the stream was last asked about itself
}

// asking notes the sequence that the answer to a request sent now must have reached.
func (s *shard) asking() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.horizon.asked = s.horizon.acked
}

// acknowledged notes that the log has a sequence.
func (s *shard) acknowledged(sequence uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.horizon.acked = max(s.horizon.acked, sequence)
}

// reaches raises an alarm when the stream is shorter than what it acknowledged, or was created again: mail that got 250 is lost. It
// is called with the lock held. The alarm stays until this process ends. Mail is still accepted, and the storers audit
// what is there.
func (s *shard) reaches(info *jetstream.StreamInfo) {
	h := &s.horizon
	again := !h.created.IsZero() && !info.Created.Equal(h.created)
	h.created = info.Created
	if !again && info.State.LastSeq >= h.asked || h.asked == 0 {
		return
	}
	s.metrics.shorter.WithLabelValues(strconv.Itoa(s.number)).Set(1)
	what := "the log is shorter than it was: it has lost mail that got 250; run sluicectl audit"
	if again {
		what = "the log's stream was created again: it has lost mail that got 250; run sluicectl audit"
	}
	s.logger.Error(what, "shard", s.number, "acknowledged", h.asked, "last", info.State.LastSeq)
	h.acked, h.asked = info.State.LastSeq, 0 // said once
}
