package lifecycle

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// SignalContext returns a context that ends at the first SIGINT or SIGTERM; context.Cause names the signal. At the
// second one it calls again, which main uses to exit at once: a stop that hangs must not need a SIGKILL. release
// gives the signals back their usual effect and ends the context.
func SignalContext(parent context.Context, again func(os.Signal)) (ctx context.Context, release func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		select {
		case s := <-signals:
			cancel(fmt.Errorf("received %s: %w", s, context.Canceled))
		case <-quit:
			return
		}
		select {
		case s := <-signals:
			again(s)
		case <-quit:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		select {
		case <-done:
		default:
			close(quit)
			<-done
		}
		cancel(context.Canceled)
	}
}
