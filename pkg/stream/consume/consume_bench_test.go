package consume

import (
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/stream"
)

// fill puts n mails of 4 KB into shard 0.
func (f *logFixture) fill(b *testing.B, n int) {
	b.Helper()
	raw := fixtureBytes(4096, 1)
	for i := range n {
		if _, err := f.js.PublishMsgAsync(f.headMsg(0, fixtureEnvelope(raw), raw)); err != nil {
			b.Fatal(err)
		}
		if i%1000 == 999 || i == n-1 {
			<-f.js.PublishAsyncComplete()
		}
	}
}

// BenchmarkWorker is what the worker costs around a handler that does nothing: fetch, decode, batch, acknowledge.
func BenchmarkWorker(b *testing.B) {
	f := newLogFixture(b, 2<<30)
	f.fill(b, b.N)
	var handled atomic.Int64
	through := make(chan struct{})
	w, err := NewWorker(f.nc, WorkerConfig{Consumer: stream.Storer}, newRecorder(func(*stream.Message) Verdict {
		if handled.Add(1) == int64(b.N) {
			close(through)
		}
		return Done()
	}), f.logger(), prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(4096)
	b.ResetTimer()
	f.start(w.Run)
	<-through
}

// BenchmarkHeads is the log read for an audit.
func BenchmarkHeads(b *testing.B) {
	f := newLogFixture(b, 2<<30)
	f.fill(b, b.N)
	b.ResetTimer()
	n := 0
	err := stream.NewReader(f.nc).Heads(b.Context(), stream.Bounds{From: 1, To: uint64(b.N)}, func(stream.Head) error { n++; return nil })
	if err != nil || n != b.N {
		b.Fatalf("%d heads of %d: %v", n, b.N, err)
	}
}
