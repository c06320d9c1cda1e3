package smtpd

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-mail/sluice/pkg/smtp"
)

func TestShutdownTellsIdleClientsAtOnce(t *testing.T) {
	cfg, roots := withCertificate(t, Config{})
	srv := start(t, cfg, new(memorySink))
	fresh, greeted, secure := dial(t, srv.addr), dial(t, srv.addr), dial(t, srv.addr)
	fresh.want("220 ")
	greeted.hello()
	secure.hello()
	secure.startTLS(roots)
	began := time.Now()
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	for _, c := range []*client{fresh, greeted, secure} {
		c.want("421 4.3.2")
		c.wantClosed()
	}
}

func TestShutdownLetsDataFinish(t *testing.T) {
	srv := start(t, Config{}, new(memorySink))
	data, chunks := dial(t, srv.addr), dial(t, srv.addr)
	data.hello()
	data.envelope()
	data.send("first half\r\n")
	chunks.hello()
	chunks.cmd("MAIL FROM:<a@sender.example>", "250")
	chunks.cmd("RCPT TO:<u@example.com>", "250")
	chunks.send("BDAT 5\r\nhello")
	chunks.want("250 2.0.0")
	done := make(chan error, 1)
	go func() { done <- srv.Shutdown(t.Context()) }()
	eventually(t, "draining", srv.draining.Load)
	data.send("second half\r\n.\r\n")
	data.want("250 2.0.0")
	chunks.send("BDAT 2 LAST\r\n\r\n")
	chunks.want("250 2.0.0")
	for _, c := range []*client{data, chunks} {
		c.want("421 4.3.2")
		c.wantClosed()
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	mails := srv.sink.stored()
	if len(mails) != 2 || string(mails[0]) != "first half\r\nsecond half\r\n" || string(mails[1]) != "hello\r\n" {
		t.Fatalf("stored %q", mails)
	}
}

func TestShutdownEndsWithItsContext(t *testing.T) {
	srv := start(t, Config{}, new(memorySink))
	c := dial(t, srv.addr)
	c.hello()
	c.envelope()
	c.send("half\r\n")
	eventually(t, "the delivery is open", func() bool { return srv.sink.openCount() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := srv.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Shutdown: %v", err)
	}
	c.wantClosed()
	if n := srv.sink.abortedCount(); n != 1 || len(srv.sink.stored()) != 0 {
		t.Fatalf("%d aborted, %d stored", n, len(srv.sink.stored()))
	}
}

func TestShutdownCancelsACommit(t *testing.T) {
	sink := &memorySink{onCommit: func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}}
	srv := start(t, Config{}, sink)
	c := dial(t, srv.addr)
	c.hello()
	c.envelope()
	c.send("x\r\n.\r\n")
	eventually(t, "the delivery is open", func() bool { return sink.openCount() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := srv.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Shutdown: %v", err)
	}
	if rest, _ := c.r.ReadString('\n'); strings.HasPrefix(rest, "250") {
		t.Fatalf("got %q for a mail that was not committed", rest)
	}
}

// A failed or slow sink is our fault and therefore temporary.
func TestOurFaultsAre4xx(t *testing.T) {
	tests := map[string]struct {
		sink *memorySink
		want string
	}{
		"a commit that fails":       {&memorySink{onCommit: func(context.Context) error { return errors.New("no log") }}, "451 4.3.0"},
		"a commit that says 452":    {&memorySink{onCommit: func(context.Context) error { return smtp.Reply{Code: 452, Enhanced: "4.3.1", Text: "Full"} }}, "452 4.3.1"},
		"a commit that takes long":  {&memorySink{onCommit: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}, "451 4.3.0"},
		"a commit that says 250 5?": {&memorySink{onCommit: func(context.Context) error { return smtp.Reply{Code: 250, Enhanced: "2.0.0", Text: "Ok"} }}, "451 4.3.0"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			srv := start(t, Config{Timeouts: Timeouts{Commit: 100 * time.Millisecond}}, test.sink)
			c := dial(t, srv.addr)
			c.hello()
			c.envelope()
			c.send("x\r\n.\r\n")
			c.want(test.want)
			c.cmd("NOOP", "250") // and the session goes on
			if n := valueOf(srv.metrics.messages.WithLabelValues("tempfail")); n != 1 {
				t.Errorf("tempfail is %v", n)
			}
		})
	}
	t.Run("not ready", func(t *testing.T) {
		srv := start(t, Config{}, &memorySink{readyErr: smtp.Reply{Code: 452, Enhanced: "4.3.1", Text: "Insufficient system storage"}})
		c := dial(t, srv.addr)
		c.hello()
		c.cmd("MAIL FROM:<a@sender.example>", "452 4.3.1")
	})
}

func TestPanicEndsOneSessionOnly(t *testing.T) {
	armed := new(atomic.Bool)
	armed.Store(true)
	sink := &memorySink{onCommit: func(context.Context) error {
		if armed.Swap(false) {
			panic("as if by mistake")
		}
		return nil
	}}
	srv := start(t, Config{}, sink)
	other := dial(t, srv.addr)
	other.hello()
	c := dial(t, srv.addr)
	c.hello()
	c.envelope()
	c.send("x\r\n.\r\n")
	c.wantClosed()
	other.envelope()
	other.send("x\r\n.\r\n")
	other.want("250 2.0.0")
	if n := valueOf(srv.metrics.panics); n != 1 {
		t.Errorf("panics_total is %v", n)
	}
	if !strings.Contains(srv.log.String(), "as if by mistake") {
		t.Error("the log does not say what happened")
	}
	srv.metrics.panics = newTestMetrics(t).panics // expected: start's cleanup wants none
}

// A sink that ignores its context keeps a goroutine of ours, not the client.
func TestStuckSinkLetsItsClientGo(t *testing.T) {
	release := make(chan struct{})
	sink := &memorySink{onCommit: func(context.Context) error {
		<-release
		return nil
	}}
	srv := startWith(t, Config{}, sink, func(s *Server) { s.stuckAfter = 0 }) // the next tick
	defer close(release)
	c := dial(t, srv.addr)
	c.hello()
	c.envelope()
	c.send("x\r\n.\r\n")
	c.wantClosed()
	eventually(t, "the log says so", func() bool { return strings.Contains(srv.log.String(), "a sink does not answer") })
}

// blockingWriter is a log whose reader hangs.
type blockingWriter struct{ entered, release chan struct{} }

func (w blockingWriter) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "a sink does not answer") {
		close(w.entered)
		<-w.release
	}
	return len(p), nil
}

// While the watchdog's line waits to be written, connections come and go.
func TestWatchdogLogsWithoutTheLock(t *testing.T) {
	w := blockingWriter{make(chan struct{}), make(chan struct{})}
	release := make(chan struct{})
	sink := &memorySink{onCommit: func(context.Context) error {
		<-release
		return nil
	}}
	srv := startWith(t, Config{}, sink, func(s *Server) {
		s.stuckAfter = 0
		s.logger = slog.New(slog.NewJSONHandler(w, nil))
	})
	c := dial(t, srv.addr)
	c.hello()
	c.envelope()
	c.send("x\r\n.\r\n")
	<-w.entered
	dial(t, srv.addr).hello()
	close(w.release)
	close(release)
}

// Sessions in every state, a shutdown in the middle of it: all of them end, no goroutine stays.
func TestShutdownUnderLoad(t *testing.T) {
	before := runtime.NumGoroutine()
	srv := start(t, Config{MaxConnsPerIP: -1, MaxConnsPerNet: -1}, &memorySink{discard: true})
	var wg sync.WaitGroup
	var accepted atomic.Int64
	for range 32 {
		wg.Go(func() {
			for sendOne(srv.addr) == nil {
				accepted.Add(1)
			}
		})
	}
	eventually(t, "some mail has passed", func() bool { return accepted.Load() > 100 })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	// Every 250 a client saw is a stored mail; a mail whose 250 was lost may be stored, too.
	if stored := int64(len(srv.sink.stored())); stored < accepted.Load() {
		t.Errorf("%d mails accepted, %d stored", accepted.Load(), stored)
	}
	if n := srv.sink.openCount(); n != 0 {
		t.Errorf("%d deliveries were never ended", n)
	}
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before+1 })
}
