package consume_test

import (
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/consume"
	"github.com/sluice-mail/sluice/pkg/stream/internal/streamtest"
)

// BenchmarkWorker is what the worker costs around a handler that does nothing: fetch, decode, batch, acknowledge.
func BenchmarkWorker(b *testing.B) {
	f := streamtest.New(b, 2<<30)
	f.Fill(b.N, 4096)
	var handled atomic.Int64
	through := make(chan struct{})
	w, err := consume.New(f.NC, consume.Config{Consumer: stream.Storer}, streamtest.NewRecorder(func(*stream.Message) consume.Verdict {
		if handled.Add(1) == int64(b.N) {
			close(through)
		}
		return consume.Done()
	}), f.Logger(), prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(4096)
	b.ResetTimer()
	f.Run(w.Run)
	<-through
}
