package consume

import (
	"context"
	"errors"
	"sort"
	"strings"
	"sync"
)

// gate stops the fetching while something the worker needs is away. Several may hold it shut at once, each
// under its own key.
type gate struct {
	mu     sync.Mutex
	shut   map[string]error
	opened chan struct{} // closed while the gate is open
}

func newGate() *gate {
	g := &gate{shut: make(map[string]error), opened: make(chan struct{})}
	close(g.opened)
	return g
}

// close shuts the gate and says whether this key had it open before.
func (g *gate) close(key string, why error) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.shut) == 0 {
		g.opened = make(chan struct{})
	}
	_, was := g.shut[key]
	g.shut[key] = why
	return !was
}

// open takes this key's hold away and says whether there was one.
func (g *gate) open(key string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, was := g.shut[key]; !was {
		return false
	}
	delete(g.shut, key)
	if len(g.shut) == 0 {
		close(g.opened)
	}
	return true
}

// wait returns when the gate is open, or with the context's error.
func (g *gate) wait(ctx context.Context) error {
	for {
		g.mu.Lock()
		opened, isOpen := g.opened, len(g.shut) == 0
		g.mu.Unlock()
		if isOpen {
			return ctx.Err()
		}
		select {
		case <-opened:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// held is why that key holds the gate shut, nil when it does not.
func (g *gate) held(key string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shut[key]
}

// err says why the gate is shut, nil when it is open.
func (g *gate) err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.shut) == 0 {
		return nil
	}
	seen := make(map[string]bool)
	var why []string
	for _, err := range g.shut {
		text := "paused"
		if err != nil {
			text = err.Error()
		}
		if !seen[text] {
			seen[text] = true
			why = append(why, text)
		}
	}
	sort.Strings(why)
	return errors.New(strings.Join(why, "; "))
}
