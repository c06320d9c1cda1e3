package lifecycle

import (
	"context"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

func send(t *testing.T, s os.Signal) {
	t.Helper()
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := self.Signal(s); err != nil {
		t.Fatal(err)
	}
}

func wait[T any](t *testing.T, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(10 * time.Second):
		t.Fatalf("waited 10 s for %s", what)
	}
	return v
}

func TestFirstSignalEndsTheContextSecondCallsAgain(t *testing.T) {
	again := make(chan os.Signal, 1)
	ctx, release := SignalContext(context.Background(), func(s os.Signal) { again <- s })
	defer release()
	send(t, syscall.SIGTERM)
	wait(t, ctx.Done(), "the context to end")
	if cause := context.Cause(ctx).Error(); !strings.Contains(cause, "received terminated") {
		t.Errorf("the cause is %q", cause)
	}
	select {
	case s := <-again:
		t.Fatalf("%v was taken for a second signal", s)
	default:
	}
	send(t, os.Interrupt)
	if s := wait(t, again, "the second signal"); s != os.Interrupt {
		t.Errorf("the second signal is %v", s)
	}
}

func TestReleaseWithoutSignal(t *testing.T) {
	ctx, release := SignalContext(context.Background(), func(s os.Signal) { t.Errorf("called for %v", s) })
	release()
	release()
	if ctx.Err() == nil {
		t.Error("the context has not ended")
	}
}

func TestParentEndsTheContext(t *testing.T) {
	parent, cancel := context.WithCancel(context.Background())
	ctx, release := SignalContext(parent, func(os.Signal) {})
	defer release()
	cancel()
	wait(t, ctx.Done(), "the context to end")
}

// A terminal that closes stops the process in the same orderly way, and is no reason to hurry.
func TestHangupIsAStop(t *testing.T) {
	if signal.Ignored(syscall.SIGHUP) {
		t.Skip("skipped: SIGHUP is ignored here, as under nohup, and then SignalContext leaves it so")
	}
	again := make(chan os.Signal, 1)
	ctx, release := SignalContext(context.Background(), func(s os.Signal) { again <- s })
	defer release()
	send(t, syscall.SIGHUP)
	wait(t, ctx.Done(), "the context to end")
	send(t, syscall.SIGHUP)
	send(t, syscall.SIGTERM)
	if s := wait(t, again, "the second signal"); s != syscall.SIGTERM {
		t.Errorf("the second signal is %v", s)
	}
}
