package publish

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// The ingress saw 300 acknowledged. A log that ends at 100 after a restart, or was made again, has lost mail that got 250.
func TestALogShorterThanWhatItAcknowledgedIsAnAlarm(t *testing.T) {
	made := time.Now().Add(-time.Hour)
	for name, tt := range map[string]struct {
		created time.Time
		last    uint64
		alarm   float64
	}{
		"whole":                     {made, 300, 0},
		"longer":                    {made, 5000, 0},
		"shorter":                   {made, 100, 1},
		"made again":                {made.Add(time.Minute), 20, 1},
		"made again and longer now": {made.Add(time.Minute), 5000, 1},
	} {
		s := testShard(startSilentLog(t), 0)
		tell := func(created time.Time, last uint64) {
			s.asking()
			s.learn(&jetstream.StreamInfo{Created: created, State: jetstream.StreamState{LastSeq: last}}, time.Now(), time.Now())
		}
		tell(made, 0)
		s.note(stored, answer{Sequence: 300}, 100)
		s.note(stored, answer{Sequence: 299}, 100)
		tell(tt.created, tt.last)
		if got := testutil.ToFloat64(s.metrics.shorter.WithLabelValues("0")); got != tt.alarm {
			t.Errorf("%s: the alarm is %v, want %v", name, got, tt.alarm)
		}
	}
	s := testShard(startSilentLog(t), 0)
	s.note(stored, answer{Sequence: 1}, 100)
	s.asking() // the question leaves, and what is acknowledged before its answer comes need not be in it
	s.note(stored, answer{Sequence: 2}, 100)
	s.learn(&jetstream.StreamInfo{Created: made, State: jetstream.StreamState{LastSeq: 1}}, time.Now(), time.Now())
	if got := testutil.ToFloat64(s.metrics.shorter.WithLabelValues("0")); got != 0 {
		t.Errorf("an answer that crossed an acknowledgement raises the alarm")
	}
}
