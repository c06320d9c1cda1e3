package publish

import (
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// horizon is how far a shard must reach: what it acknowledged to this process it has, until retention purges it, and its last
// sequence never falls.
type horizon struct {
	created time.Time
	acked   uint64 // the highest sequence acknowledged
	asked   uint64 // the same when the stream was last asked about itself
}

// asking notes what the answer to a question that leaves now must reach.
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

// reaches raises the alarm when the stream is shorter than what it acknowledged, or another one: mail that got 250 is gone. It
// is called with the lock held. The alarm stays until this process ends; mail is taken all the same, the storers look after what
// is there.
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
