package lifecycle

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// SignalContext returns a context that ends at the first SIGINT, SIGTERM or SIGHUP; context.Cause names the signal. (SIGHUP means
// that the terminal is gone; it does not reload anything.) At the second SIGINT or SIGTERM it calls again, which main uses to
// exit at once, so that a stop that hangs needs no SIGKILL. release restores the usual effect of the signals and ends the
// context.
func SignalContext(parent context.Context, again func(os.Signal)) (ctx context.Context, release func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		select {
		case s := <-signals:
			cancel(fmt.Errorf("received %s: %w", s, context.Canceled))
		case <-quit:
			return
		}
		for {
			select {
			case s := <-signals:
				if s != syscall.SIGHUP { // a terminal that goes says so more than once
					again(s)
					return
				}
			case <-quit:
				return
			}
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
