package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Group runs actors that start and stop together. The contract:
//
//   - An actor is a function that works until its context ends and then returns. It has opened what it needs before Run, and
//     has stopped what it started when it returns. Returning nil early also stops the group.
//   - Run starts the actors in the order in which they were added, each in its own goroutine, without waiting in between.
//   - The first actor to return, or the end of Run's context, stops the group: the contexts of the actors end one
//     after the other in reverse order, each only after the previous actor has returned. So until it returns, an actor may
//     use everything that was added before it.
//   - If an actor has not returned when its timeout is over, Run no longer waits for it: the next actor is stopped, and Run's
//     error names the one that did not return.
//   - Run returns when all actors have returned or timed out. It returns nil, or the first actor's error joined with the errors
//     of stopping. context.Canceled from an actor that was asked to stop is not an error.
//   - A Group runs once. Run without actors returns nil. An actor's panic is not caught.
type Group struct {
	actors []*actor
	ran    bool
}

type actor struct {
	name    string
	timeout time.Duration
	run     func(context.Context) error
	cancel  context.CancelFunc
	done    chan struct{}
	err     error // valid once done is closed
}

// ErrStopTimeout says that an actor did not return in time.
var ErrStopTimeout = errors.New("did not stop in time")

// Add adds an actor before Run. Its name goes in front of its errors, when it has one. timeout bounds how long it may
// take to stop; 0 means no limit.
func (g *Group) Add(name string, timeout time.Duration, run func(ctx context.Context) error) {
	g.actors = append(g.actors, &actor{name: name, timeout: timeout, run: run, done: make(chan struct{})})
}

// Run runs the actors until all have stopped.
func (g *Group) Run(ctx context.Context) error {
	if g.ran {
		return errors.New("a lifecycle.Group runs only once")
	}
	g.ran = true
	if len(g.actors) == 0 {
		return nil
	}
	first := make(chan *actor, len(g.actors))
	for _, a := range g.actors {
		a.start(ctx, first)
	}
	var problems []error
	var cause *actor
	select {
	case cause = <-first:
		if cause.err != nil {
			problems = append(problems, cause.wrap(cause.err))
		}
	case <-ctx.Done():
	}
	for i := len(g.actors) - 1; i >= 0; i-- {
		if a := g.actors[i]; a != cause {
			problems = append(problems, a.stop())
		}
	}
	if cause != nil {
		cause.cancel()
	}
	return errors.Join(problems...)
}

// start runs the actor. Its context carries the values of ctx but not its end: that only begins the orderly stop.
func (a *actor) start(ctx context.Context, first chan<- *actor) {
	ctx, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		a.err = a.run(ctx)
		close(a.done)
		first <- a
	}()
}

func (a *actor) stop() error {
	a.cancel()
	var expired <-chan time.Time
	if a.timeout > 0 {
		timer := time.NewTimer(a.timeout)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-a.done:
	case <-expired:
		return a.wrap(fmt.Errorf("%w (%s)", ErrStopTimeout, a.timeout))
	}
	if a.err != nil && !errors.Is(a.err, context.Canceled) {
		return a.wrap(a.err)
	}
	return nil
}

func (a *actor) wrap(err error) error {
	if a.name == "" {
		return err
	}
	return fmt.Errorf("%s: %w", a.name, err)
}
