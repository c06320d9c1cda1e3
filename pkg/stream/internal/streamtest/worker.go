package streamtest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/consume"
	"github.com/sluice-mail/sluice/pkg/stream/internal/pace"
)

// Pace is that of a worker or replay which need not wait for people.
func Pace() pace.Pace {
	return pace.Pace{
		First: 5 * time.Millisecond, Most: 50 * time.Millisecond, Linger: 5 * time.Millisecond, Extend: AckWait / 5,
		Look: 20 * time.Millisecond, Rediscover: 50 * time.Millisecond, Refresh: 100 * time.Millisecond, Stale: 400 * time.Millisecond,
	}
}

// Worker runs a worker at that pace until the test ends or stop is called. It is the storer's unless cfg says another.
func (f *Fixture) Worker(cfg consume.Config, h consume.Handler) (w *consume.Worker, stop func()) {
	f.t.Helper()
	if cfg.Consumer == "" {
		cfg.Consumer = stream.Storer
	}
	cfg.Pace = Pace()
	w, err := consume.New(f.NC, cfg, h, f.Logger(), prometheus.NewRegistry())
	if err != nil {
		f.t.Fatal(err)
	}
	return w, f.Run(w.Run)
}

// Store settles everything in shard 0, as the storer.
func (f *Fixture) Store() {
	f.t.Helper()
	_, stop := f.Worker(consume.Config{}, NewRecorder(nil))
	Eventually(f.t, "everything stored", f.Settled)
	stop()
}

// Recorder is a Handler that remembers what it was given.
type Recorder struct {
	// Verdict is what it answers; it is set before the first batch.
	Verdict func(m *stream.Message) consume.Verdict

	mu      sync.Mutex
	batches [][]*stream.Message
	done    map[ulid.ULID]int
}

// NewRecorder makes a Recorder that answers with verdict; nil: everything is done.
func NewRecorder(verdict func(*stream.Message) consume.Verdict) *Recorder {
	if verdict == nil {
		verdict = func(*stream.Message) consume.Verdict { return consume.Done() }
	}
	return &Recorder{Verdict: verdict, done: make(map[ulid.ULID]int)}
}

// Handle implements consume.Handler.
func (r *Recorder) Handle(_ context.Context, batch []*stream.Message) []consume.Verdict {
	r.mu.Lock()
	r.batches = append(r.batches, batch)
	r.mu.Unlock()
	verdicts := make([]consume.Verdict, len(batch))
	for i, m := range batch {
		verdicts[i] = r.Verdict(m)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, m := range batch {
		if verdicts[i] == consume.Done() {
			r.done[m.ID]++
		}
	}
	return verdicts
}

// Count is how often the mail of that id was done.
func (r *Recorder) Count(id ulid.ULID) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.done[id]
}

// Total is how many mails were done.
func (r *Recorder) Total() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.done)
}

// Batches are what the handler was given, in order.
func (r *Recorder) Batches() [][]*stream.Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.batches)
}

// Seen returns every message the handler was given with that id.
func (r *Recorder) Seen(id ulid.ULID) []*stream.Message {
	var all []*stream.Message
	for _, b := range r.Batches() {
		for _, m := range b {
			if m.ID == id {
				all = append(all, m)
			}
		}
	}
	return all
}
