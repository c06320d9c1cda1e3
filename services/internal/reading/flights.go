package reading

import (
	"context"
	"sync"
)

// flights lets callers that want the same data at the same time share one call. A caller joins a call that has not begun yet, never
// one that is under way: that call may have read before a change that the caller must see, such as a deletion that was
// confirmed to it. So for each key one call runs, and at most one waits for it to end.
//
// A call does not end when its callers leave, but after queryTimeout.
type flights[K comparable, V any] struct {
	mu    sync.Mutex
	calls map[K]*flight[V]
}

// flight is what runs for a key, and what comes after it.
type flight[V any] struct {
	done  chan struct{}
	value V
	err   error
	next  *flight[V] // waits; nil when nobody does
}

// do returns what work returns, called by this caller or for it.
func (f *flights[K, V]) do(ctx context.Context, key K, work func(context.Context) (V, error)) (V, error) {
	call := f.join(ctx, key, work)
	select {
	case <-call.done:
		return call.value, call.err
	case <-ctx.Done():
		var none V
		return none, ctx.Err()
	}
}

func (f *flights[K, V]) join(ctx context.Context, key K, work func(context.Context) (V, error)) *flight[V] {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calls == nil {
		f.calls = make(map[K]*flight[V])
	}
	running := f.calls[key]
	if running != nil && running.next != nil {
		return running.next
	}
	call := &flight[V]{done: make(chan struct{})}
	if running == nil {
		f.calls[key] = call
	} else {
		running.next = call
	}
	go f.run(context.WithoutCancel(ctx), key, call, running, work)
	return call
}

// run waits for the call before this one, works, and makes room for the next.
func (f *flights[K, V]) run(ctx context.Context, key K, call, before *flight[V], work func(context.Context) (V, error)) {
	if before != nil {
		<-before.done
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	defer close(call.done)
	defer f.end(key, call)
	call.value, call.err = work(ctx)
}

func (f *flights[K, V]) end(key K, call *flight[V]) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if call.next != nil {
		f.calls[key] = call.next
	} else {
		delete(f.calls, key)
	}
}
