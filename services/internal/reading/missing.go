package reading

import (
	"sync"
	"time"
)

const (
	// missingLife is how long a mail that was not there is not looked for again: short, because the announcement that it
	// has been stored may be lost.
	missingLife = time.Second
	maxMissing  = 10_000
)

// missing remembers what was looked for and not found, so that a client that asks for one missing mail over and over is
// no load on the database.
type missing struct {
	now func() time.Time

	mu    sync.Mutex
	until map[finding]time.Time
}

func newMissing(now func() time.Time) *missing {
	return &missing{now: now, until: make(map[finding]time.Time)}
}

func (m *missing) has(f finding) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now().Before(m.until[f])
}

func (m *missing) add(f finding) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.until) >= maxMissing {
		clear(m.until)
	}
	m.until[f] = m.now().Add(missingLife)
}

func (m *missing) remove(f finding) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.until, f)
}
