package consume

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/natsd"
	"github.com/sluice-mail/sluice/pkg/stream"
)

// The log stops and starts again while a worker consumes: the worker says so, waits, and goes on by itself.
func TestWorkerOutlivesARestartOfTheLog(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opts := natsd.Options{Dir: t.TempDir(), MaxStore: 1 << 30, Port: free.Addr().(*net.TCPAddr).Port, NoSync: true}
	free.Close()
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
	f := &logFixture{t: t, server: server, ackMin: fixtureAckWait, max: 64 << 20}
	f.nc, err = stream.Connect(stream.ConnConfig{URL: server.URL()}, stream.ConnOptions{Name: "test", Logger: f.logger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.nc.Close)
	if f.js, err = jetstream.New(f.nc); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the connection", f.nc.IsConnected)
	f.addShard(0)
	rec := newRecorder(nil)
	w, err := NewWorker(f.nc, WorkerConfig{Consumer: stream.Storer}, rec, f.logger(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	w.engine.pace = fixturePace()
	f.start(w.Run)
	for i := range 100 {
		f.mail(0, fmt.Sprintf("before %d\r\n", i))
	}
	server.Shutdown()
	eventually(t, "red health", func() bool { return w.Health(t.Context()) != nil })
	if server, err = natsd.Start(opts); err != nil {
		stopped = true
		t.Fatal(err)
	}
	eventually(t, "the connection", f.nc.IsConnected)
	start := time.Now()
	for i := range 100 {
		f.mail(0, fmt.Sprintf("after %d\r\n", i))
	}
	eventually(t, "all mails", func() bool { return rec.total() == 200 && f.settled() })
	if waited := time.Since(start); waited > 15*time.Second {
		t.Errorf("it took %s to go on", waited)
	}
	if err := w.Health(t.Context()); err != nil {
		t.Errorf("health afterwards: %v", err)
	}
}
