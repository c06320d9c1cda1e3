package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/scripts/lab/logbench/server"
)

// breakEven compares, for k mails that wait, k publishes at once with one atomic batch: how long until all are
// acknowledged. The two alternate, so that both see the same disk.
func breakEven(ctx context.Context, s settings, size int) error {
	store := filepath.Join(s.dir, "breakeven")
	srv, err := server.Start(ctx, server.Options{Binary: s.binary, Store: store, SyncAlways: true})
	if err != nil {
		return err
	}
	defer func() { srv.Stop(); _ = os.RemoveAll(store) }()
	nc, err := stream.Connect(stream.ConnConfig{URL: srv.URL}, stream.ConnOptions{Name: "logbench", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := stream.Ensure(ctx, nc, stream.Shape{Shards: 1, Replicas: 1, MaxBytes: 16 << 30}, stream.SyncedSingle, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	b := &bench{nc: nc, raw: make([]byte, size)}
	_, _ = rand.Read(b.raw)
	fmt.Printf("\nbreak-even, %d bytes: median ms until k mails are acknowledged\n%6s %10s %10s\n", size, "k", "singly", "batch")
	for _, k := range []int{1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64} {
		var single, batch []time.Duration
		for until := time.Now().Add(s.seconds); time.Now().Before(until); {
			start := time.Now()
			if err := flightSingly(js, b, k); err != nil {
				return err
			}
			single = append(single, time.Since(start))
			start = time.Now()
			if err := flightBatch(ctx, b, k); err != nil {
				return err
			}
			batch = append(batch, time.Since(start))
		}
		fmt.Printf("%6d %10.2f %10.2f\n", k, middle(single), middle(batch))
	}
	return nil
}

func middle(list []time.Duration) float64 {
	slices.Sort(list)
	return float64(list[len(list)/2].Microseconds()) / 1000
}

func flightSingly(js jetstream.JetStream, b *bench, k int) error {
	futures := make([]jetstream.PubAckFuture, k)
	for i := range futures {
		f, err := js.PublishMsgAsync(b.message())
		if err != nil {
			return err
		}
		futures[i] = f
	}
	for _, f := range futures {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			return err
		}
	}
	return nil
}

// flightBatch publishes k mails as one atomic batch (NATS ADR-50).
func flightBatch(ctx context.Context, b *bench, k int) error {
	id := nuid.Next()
	member := func(i int) *nats.Msg {
		msg := b.message()
		msg.Header.Set("Nats-Batch-Id", id)
		msg.Header.Set("Nats-Batch-Sequence", fmt.Sprint(i))
		return msg
	}
	for i := 1; i < k; i++ {
		if err := b.nc.PublishMsg(member(i)); err != nil {
			return err
		}
	}
	msg := member(k)
	msg.Header.Set("Nats-Batch-Commit", "1")
	answer, err := b.nc.RequestMsgWithContext(ctx, msg)
	if err != nil {
		return err
	}
	if want := fmt.Sprintf(`"count":%d`, k); !contains(answer.Data, want) {
		return fmt.Errorf("the batch was answered with %s", answer.Data)
	}
	return nil
}
