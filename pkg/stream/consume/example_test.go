package consume_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/natsd"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/consume"
	"github.com/sluice-mail/sluice/pkg/stream/publish"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// A worker of your own: a Handler, a consumer of your own name on every shard, and Run.
func Example() {
	nc, cleanup := exampleLog() // in your program: stream.Connect
	defer cleanup()

	ctx, stop := context.WithCancel(context.Background())
	handler := consume.HandlerFunc(func(ctx context.Context, batch []*stream.Message) []consume.Verdict {
		verdicts := make([]consume.Verdict, len(batch))
		for i, mail := range batch {
			fmt.Printf("%s has %d bytes for %s\n", mail.Envelope.MailFrom, mail.Envelope.Size, mail.Envelope.Recipients[0].Mailbox)
			verdicts[i] = consume.Done() // or Retry(err): the database is away; or Dead(reason): never possible
		}
		stop() // a real worker runs until it is told to stop
		return verdicts
	})
	cfg := consume.Config{Consumer: "counter", CreateConsumer: true}
	worker, err := consume.New(nc, cfg, handler, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := worker.Run(ctx); err != nil {
		fmt.Println(err)
	}
	// Output: a@example.net has 13 bytes for u@example.com
}

// exampleLog is a log of one shard with one mail in it.
func exampleLog() (*nats.Conn, func()) {
	dir, err := os.MkdirTemp("", "example")
	check(err)
	server, err := natsd.Start(natsd.Options{Dir: dir, MaxStore: 2 << 30})
	check(err)
	nc, err := server.Connect()
	check(err)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	quiet := slog.New(slog.DiscardHandler)
	check(stream.Ensure(ctx, nc, stream.Shape{Shards: 1, Replicas: 1, MaxBytes: 64 << 20}, stream.SyncedSingle, quiet))
	publisher := publish.New(nc, publish.Config{}, quiet, prometheus.NewRegistry())
	running, stop := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() { _ = publisher.Run(running); close(stopped) }()
	for publisher.Ready() != nil && ctx.Err() == nil {
		<-time.After(time.Millisecond)
	}
	raw := []byte("Subject: hi\r\n")
	id, sum := ulid.Make(), sha256.Sum256(raw)
	check(publisher.Publish(ctx, publish.Mail{Raw: raw, Envelope: &mailv1.Envelope{
		Id: id[:], MailFrom: "a@example.net", Size: uint64(len(raw)), Sha256: sum[:],
		Recipients: []*mailv1.Recipient{{Mailbox: "u@example.com"}},
	}}))
	stop()
	<-stopped
	return nc, func() { nc.Close(); server.Shutdown(); _ = os.RemoveAll(dir) }
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
