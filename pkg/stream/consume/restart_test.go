package consume_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/sluice-mail/sluice/pkg/natsd"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/consume"
	"github.com/sluice-mail/sluice/pkg/stream/internal/streamtest"
)

// The log stops and starts again while a worker consumes: the worker says so, waits, and goes on by itself.
func TestWorkerOutlivesARestartOfTheLog(t *testing.T) {
	opts := natsd.Options{Dir: t.TempDir(), MaxStore: 1 << 30, Port: streamtest.FreePorts(t, 1)[0], NoSync: true}
	server, err := natsd.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	t.Cleanup(func() {
		if !stopped {
			server.Shutdown()
		}
	})
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	nc, err := stream.Connect(stream.ConnConfig{URL: server.URL()}, stream.ConnOptions{Name: "test", Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	streamtest.Eventually(t, "the connection", nc.IsConnected)
	f := streamtest.On(t, server, nc, 64<<20)
	f.AddShard(0)
	rec := streamtest.NewRecorder(nil)
	w, _ := f.Worker(consume.Config{}, rec)
	for i := range 100 {
		f.Mail(0, fmt.Sprintf("before %d\r\n", i))
	}
	server.Shutdown()
	streamtest.Eventually(t, "red health", func() bool { return w.Health(t.Context()) != nil })
	if server, err = natsd.Start(opts); err != nil {
		stopped = true
		t.Fatal(err)
	}
	streamtest.Eventually(t, "the connection", nc.IsConnected)
	start := time.Now()
	for i := range 100 {
		f.Mail(0, fmt.Sprintf("after %d\r\n", i))
	}
	streamtest.Eventually(t, "all mails", func() bool { return rec.Total() == 200 && f.Settled() })
	if waited := time.Since(start); waited > 15*time.Second {
		t.Errorf("it took %s to go on", waited)
	}
	if err := w.Health(t.Context()); err != nil {
		t.Errorf("health afterwards: %v", err)
	}
}
