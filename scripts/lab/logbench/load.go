package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/env"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/publish"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
	"github.com/sluice-mail/sluice/scripts/lab/logbench/server"
)

// load publishes until stop is closed and calls done for every acknowledged mail.
type load func(ctx context.Context, b *bench) error

type bench struct {
	nc      *nats.Conn
	raw     []byte
	senders int
	stop    chan struct{}
	batches prometheus.Gatherer
	synced  bool

	counting atomic.Bool
	mu       sync.Mutex
	took     []time.Duration
}

func (b *bench) done(start time.Time) {
	if b.counting.Load() {
		d := time.Since(start)
		b.mu.Lock()
		b.took = append(b.took, d)
		b.mu.Unlock()
	}
}

func (b *bench) stopped() bool {
	select {
	case <-b.stop:
		return true
	default:
		return false
	}
}

type result struct {
	rate          float64
	p50, p99, max time.Duration
	cpu           time.Duration // of the log, per mail
	batch         float64
	mails         int
}

func (r result) String() string {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return fmt.Sprintf("%9.0f %9.2f %9.2f %9.2f %12d %10.1f", r.rate, ms(r.p50), ms(r.p99), ms(r.max), r.cpu.Microseconds(), r.batch)
}

func measure(ctx context.Context, s settings, srv *server.Server, r row, size, senders int) (result, error) {
	nc, err := stream.Connect(stream.ConnConfig{URL: srv.URL}, stream.ConnOptions{Name: "logbench", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return result{}, err
	}
	defer nc.Close()
	durability := stream.UnsyncedSingle
	if r.synced {
		durability = stream.SyncedSingle
	}
	shape := stream.Shape{Shards: s.shards, Replicas: 1, MaxBytes: 16 << 30 / env.Bytes(s.shards)}
	if err := stream.Ensure(ctx, nc, shape, durability, slog.New(slog.DiscardHandler)); err != nil {
		return result{}, err
	}
	reg := prometheus.NewRegistry()
	b := &bench{nc: nc, raw: make([]byte, size), senders: senders, stop: make(chan struct{}), batches: reg, synced: r.synced}
	_, _ = io.ReadFull(rand.Reader, b.raw)
	ended := make(chan error, 1)
	go func() { ended <- r.load(context.WithValue(ctx, registry{}, reg), b) }()
	time.Sleep(s.warmup)
	cpu, start := srv.CPU(), time.Now()
	b.counting.Store(true)
	time.Sleep(s.seconds)
	b.counting.Store(false)
	elapsed, used := time.Since(start), srv.CPU()-cpu
	close(b.stop)
	if err := <-ended; err != nil {
		return result{}, err
	}
	return b.result(elapsed, used), nil
}

func (b *bench) result(elapsed, cpu time.Duration) result {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.took)
	if n == 0 {
		return result{}
	}
	slices.Sort(b.took)
	return result{
		rate: float64(n) / elapsed.Seconds(), p50: b.took[n/2], p99: b.took[n*99/100], max: b.took[n-1],
		cpu: cpu / time.Duration(n), mails: n, batch: b.batchSize(),
	}
}

func (b *bench) batchSize() float64 {
	families, _ := b.batches.Gather()
	for _, f := range families {
		if f.GetName() == "sluice_publish_batch_size" {
			h := f.Metric[0].Histogram
			return h.GetSampleSum() / float64(max(h.GetSampleCount(), 1))
		}
	}
	return 1
}

// registry is the context key of the registry for the publisher's metrics.
type registry struct{}

func (b *bench) envelope() *mailv1.Envelope {
	id := ulid.Make()
	return &mailv1.Envelope{
		Id: id[:], Size: uint64(len(b.raw)), Sha256: make([]byte, 32), ReceivedAt: time.Now().UnixMilli(), Ingress: "mx.example.com",
		Helo: "client.example.net", Protocol: "ESMTP", MailFrom: "sender@example.net",
		Recipients: []*mailv1.Recipient{{Mailbox: "user@example.com"}},
	}
}

func groupCommit(ctx context.Context, b *bench) error {
	reg := ctx.Value(registry{}).(*prometheus.Registry)
	p := publish.New(b.nc, publish.Config{AllowUnsynced: !b.synced}, slog.New(slog.DiscardHandler), reg)
	runCtx, cancel := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- p.Run(runCtx) }()
	defer func() { cancel(); <-ran }()
	for p.Ready() != nil {
		time.Sleep(10 * time.Millisecond)
	}
	return b.each(func() error {
		return p.Publish(ctx, publish.Mail{Envelope: b.envelope(), Raw: b.raw})
	})
}

func singly(ctx context.Context, b *bench) error {
	js, err := jetstream.New(b.nc)
	if err != nil {
		return err
	}
	return b.each(func() error {
		_, err := js.PublishMsg(ctx, b.message())
		return err
	})
}

// each runs the senders, each with one mail at a time.
func (b *bench) each(publish func() error) error {
	var senders sync.WaitGroup
	failed := make(chan error, b.senders)
	for range b.senders {
		senders.Go(func() {
			for !b.stopped() {
				start := time.Now()
				if err := publish(); err != nil {
					failed <- err
					return
				}
				b.done(start)
			}
		})
	}
	senders.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

func (b *bench) message() *nats.Msg {
	envelope, _ := stream.EncodeEnvelope(b.envelope())
	return &nats.Msg{Subject: stream.HeadSubject(0), Data: b.raw, Header: nats.Header{
		stream.IDHeader: {ulid.Make().String()}, stream.EnvelopeHeader: {envelope},
	}}
}

func asyncLoop(ctx context.Context, b *bench) error {
	js, err := jetstream.New(b.nc, jetstream.WithPublishAsyncMaxPending(b.senders+1))
	if err != nil {
		return err
	}
	type sent struct {
		future jetstream.PubAckFuture
		at     time.Time
	}
	window := make(chan sent, b.senders)
	collected := make(chan error, 1)
	go func() {
		var first error
		for s := range window {
			select {
			case <-s.future.Ok():
				b.done(s.at)
			case err := <-s.future.Err():
				first = err
			}
		}
		collected <- first
	}()
	for !b.stopped() {
		f, err := js.PublishMsgAsync(b.message(), jetstream.WithStallWait(10*time.Second))
		if err != nil {
			close(window)
			return err
		}
		window <- sent{f, time.Now()}
	}
	close(window)
	return <-collected
}

// atomicLoop sends batches of 256 one after the other, two on their way at once.
func atomicLoop(ctx context.Context, b *bench) error {
	const size = 256
	loop := &bench{nc: b.nc, raw: b.raw, senders: 2, stop: b.stop}
	return loop.each(func() error {
		start := time.Now()
		if err := flightBatch(ctx, b, size); err != nil {
			return err
		}
		for range size {
			b.done(start)
		}
		return nil
	})
}
