package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// record notes the order in which things happen.
type record struct {
	mu     sync.Mutex
	events []string
}

func (r *record) add(event string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, event)
}

// patient returns an actor that works until it is asked to stop.
func (r *record) patient(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		<-ctx.Done()
		r.add(name)
		return ctx.Err()
	}
}

func TestStopsInReverseOrder(t *testing.T) {
	var g Group
	var r record
	for _, name := range []string{"store", "worker", "listener"} {
		g.Add(name, 0, r.patient(name))
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := g.Run(ctx); err != nil {
		t.Errorf("a stop that was asked for is an error: %v", err)
	}
	if want := []string{"listener", "worker", "store"}; !slices.Equal(r.events, want) {
		t.Errorf("stopped in the order %v, want %v", r.events, want)
	}
}

// TestEarlierActorsWorkUntilLaterOnesHaveReturned is the ancestor's bug: the database was closed before the last flush.
func TestEarlierActorsWorkUntilLaterOnesHaveReturned(t *testing.T) {
	var g Group
	requests, answers := make(chan int), make(chan int)
	g.Add("store", 0, func(ctx context.Context) error {
		for {
			select {
			case n := <-requests:
				answers <- n + 1
			case <-ctx.Done():
				return nil
			}
		}
	})
	flushed := 0
	g.Add("worker", 0, func(ctx context.Context) error {
		<-ctx.Done()
		for range 100 {
			requests <- flushed
			flushed = <-answers
		}
		return nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := g.Run(ctx); err != nil || flushed != 100 {
		t.Errorf("flushed %d of 100 while stopping, %v", flushed, err)
	}
}

func TestFirstToStopStopsAll(t *testing.T) {
	for _, failure := range []error{nil, errors.New("disk on fire")} {
		var g Group
		var r record
		g.Add("before", 0, r.patient("before"))
		g.Add("first", 0, func(context.Context) error { return failure })
		g.Add("after", 0, r.patient("after"))
		err := g.Run(context.Background())
		if !errors.Is(err, failure) || (failure != nil && err.Error() != "first: disk on fire") {
			t.Errorf("got %v, want %v", err, failure)
		}
		if want := []string{"after", "before"}; !slices.Equal(r.events, want) {
			t.Errorf("stopped in the order %v, want %v", r.events, want)
		}
	}
}

func TestErrorsWhileStoppingAreJoined(t *testing.T) {
	var g Group
	flush := errors.New("flush failed")
	g.Add("store", 0, func(ctx context.Context) error { <-ctx.Done(); return flush })
	g.Add("worker", 0, func(context.Context) error { return errors.New("broken") })
	err := g.Run(context.Background())
	if !errors.Is(err, flush) || err.Error() != "worker: broken\nstore: flush failed" {
		t.Errorf("got %v", err)
	}
}

func TestStopTimeoutNamesTheActor(t *testing.T) {
	var g Group
	var r record
	release := make(chan struct{})
	g.Add("store", 0, r.patient("store"))
	g.Add("stuck", 10*time.Millisecond, func(context.Context) error { <-release; return nil })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := g.Run(ctx)
	close(release)
	if !errors.Is(err, ErrStopTimeout) || !strings.Contains(err.Error(), "stuck") {
		t.Errorf("got %v", err)
	}
	if len(r.events) != 1 {
		t.Error("the actors before a stuck one are not stopped")
	}
}

func TestContextCarriesValuesOnly(t *testing.T) {
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), key{}, "value"))
	var g Group
	g.Add("one", 0, func(ctx context.Context) error {
		if ctx.Value(key{}) != "value" {
			t.Error("the context's values are lost")
		}
		<-ctx.Done()
		return nil
	})
	g.Add("two", 0, func(ctx context.Context) error {
		<-ctx.Done()
		return nil
	})
	cancel()
	if err := g.Run(ctx); err != nil {
		t.Error(err)
	}
}

func TestGroupRunsOnce(t *testing.T) {
	var g Group
	if err := g.Run(context.Background()); err != nil {
		t.Errorf("without actors: %v", err)
	}
	if err := g.Run(context.Background()); err == nil {
		t.Error("a second Run is not an error")
	}
}

// TestGroupStress runs many groups whose actors end on their own, fail, or wait, while the context may end at any
// moment: Run must return when all have returned, and with the right verdict.
func TestGroupStress(t *testing.T) {
	failure := errors.New("failed")
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var g Group
		var running, failed atomic.Int32
		for i := range 1 + rng.IntN(8) {
			delay := time.Duration(rng.IntN(300)) * time.Microsecond
			kind := rng.IntN(4)
			running.Add(1)
			g.Add(fmt.Sprint(i), time.Minute, func(ctx context.Context) error {
				defer running.Add(-1)
				if kind < 2 {
					<-ctx.Done()
					return ctx.Err()
				}
				select {
				case <-ctx.Done():
				case <-time.After(delay):
				}
				if kind == 3 {
					failed.Add(1)
					return failure
				}
				return nil
			})
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+rng.IntN(400))*time.Microsecond)
		err := g.Run(ctx)
		cancel()
		if n := running.Load(); n != 0 {
			t.Fatalf("seed %d: Run returned while %d actors were running", seed, n)
		}
		if (failed.Load() > 0) != errors.Is(err, failure) {
			t.Fatalf("seed %d: %d actors failed, Run returned %v", seed, failed.Load(), err)
		}
	}
}
