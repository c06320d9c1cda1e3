// Command catchup measures how fast a worker catches up after an outage of its database under load, next to how fast it
// goes through a log of the same size that it has never seen, in the same run. During the outage the handler answers
// Retry, as the storer does, and the worker is restarted some times, which makes messages suspicious. The handler parses
// each mail; the log is a real nats-server that syncs.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-mail/sluice/pkg/env"
	"github.com/sluice-mail/sluice/pkg/mailparse"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/consume"
	"github.com/sluice-mail/sluice/pkg/stream/dead"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
	"github.com/sluice-mail/sluice/scripts/lab/logbench/server"
)

type settings struct {
	outage             time.Duration
	rate, size, inPack int
	restarts, rounds   int
}

func main() {
	var s settings
	flag.DurationVar(&s.outage, "outage", time.Minute, "how long the database is away")
	flag.IntVar(&s.rate, "rate", 2000, "mails per second that arrive meanwhile")
	flag.IntVar(&s.size, "size", 20_000, "bytes per mail")
	flag.IntVar(&s.inPack, "pack", 40, "mails per message of the log")
	flag.IntVar(&s.restarts, "restarts", 3, "orderly restarts of the worker during the outage")
	flag.IntVar(&s.rounds, "rounds", 3, "rounds")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := s.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "catchup:", err)
		os.Exit(1)
	}
}

func (s settings) run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "catchup")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := server.Build(ctx, dir)
	if err != nil {
		return err
	}
	fmt.Printf("%d mails of %d bytes, %d per message; an outage of %s, %d restarts\n", s.mails(), s.size, s.inPack, s.outage, s.restarts)
	for round := range s.rounds {
		fresh, err := s.measure(ctx, binary, filepath.Join(dir, "fresh"), s.fresh)
		if err != nil {
			return err
		}
		after, err := s.measure(ctx, binary, filepath.Join(dir, "after"), s.afterOutage)
		if err != nil {
			return err
		}
		fmt.Printf("round %d: fresh log %7.0f mails/s; after the outage %7.0f mails/s, the first mail after %s: %.2f×; dead letters %d\n",
			round+1, fresh.rate, after.rate, after.first.Round(time.Millisecond), after.rate/fresh.rate, fresh.dead+after.dead)
	}
	return nil
}

func (s settings) mails() int { return int(s.outage.Seconds()*float64(s.rate)) / s.inPack * s.inPack }

type result struct {
	rate  float64       // from the first mail on
	first time.Duration // after the database was there again
	dead  int
}

func (s settings) measure(ctx context.Context, binary, store string, way func(context.Context, *nats.Conn) (result, error)) (result, error) {
	defer os.RemoveAll(store)
	srv, err := server.Start(ctx, server.Options{Binary: binary, Store: store, SyncAlways: true})
	if err != nil {
		return result{}, err
	}
	defer srv.Stop()
	quiet := slog.New(slog.DiscardHandler)
	nc, err := stream.Connect(stream.ConnConfig{URL: srv.URL}, stream.ConnOptions{Name: "catchup", Logger: quiet})
	if err != nil {
		return result{}, err
	}
	defer nc.Close()
	if err := stream.Ensure(ctx, nc, stream.Shape{Shards: 1, Replicas: 1, MaxBytes: env.Bytes(s.mails()*s.size*2 + 64<<20)}, stream.SyncedSingle, quiet); err != nil {
		return result{}, err
	}
	r, err := way(ctx, nc)
	if err != nil {
		return result{}, err
	}
	err = dead.New(nc).List(ctx, func(dead.Letter) error { r.dead++; return nil })
	return r, err
}

// fresh fills the log first.
func (s settings) fresh(ctx context.Context, nc *nats.Conn) (result, error) {
	if err := s.fill(ctx, nc, 0); err != nil {
		return result{}, err
	}
	h := &handler{through: make(chan struct{}), want: int64(s.mails())}
	w, err := start(ctx, nc, h)
	if err != nil {
		return result{}, err
	}
	defer w()
	return h.wait(ctx)
}

// afterOutage fills it while a worker cannot store anything.
func (s settings) afterOutage(ctx context.Context, nc *nats.Conn) (result, error) {
	h := &handler{through: make(chan struct{}), want: int64(s.mails())}
	h.away.Store(true)
	filled := make(chan error, 1)
	go func() { filled <- s.fill(ctx, nc, s.rate) }()
	tick := time.NewTicker(s.outage / time.Duration(s.restarts+1))
	defer tick.Stop()
	stop, err := start(ctx, nc, h)
	if err != nil {
		return result{}, err
	}
	for range s.restarts {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		stop()
		if stop, err = start(ctx, nc, h); err != nil {
			return result{}, err
		}
	}
	defer func() { stop() }()
	if err := <-filled; err != nil {
		return result{}, err
	}
	h.healed = time.Now()
	h.away.Store(false)
	return h.wait(ctx)
}

// start runs a worker as the storer's; stop ends it in an orderly way.
func start(ctx context.Context, nc *nats.Conn, h *handler) (stop func(), err error) {
	w, err := consume.New(nc, consume.Config{Consumer: stream.Storer, Grave: dead.New(nc)}, h, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { _ = w.Run(ctx); close(ended) }()
	return func() { cancel(); <-ended }, nil
}

// handler does what costs time in the storer and in this process: it parses.
type handler struct {
	away    atomic.Bool
	done    atomic.Int64
	first   atomic.Int64
	healed  time.Time
	want    int64
	through chan struct{}
}

func (h *handler) Handle(_ context.Context, batch []*stream.Message) []consume.Verdict {
	verdicts := make([]consume.Verdict, len(batch))
	if h.away.Load() {
		for i := range verdicts {
			verdicts[i] = consume.Retry(errors.New("the database is away"))
		}
		return verdicts
	}
	h.first.CompareAndSwap(0, time.Now().UnixNano())
	for i, m := range batch {
		mailparse.Summarise(m.Raw)
		verdicts[i] = consume.Done()
	}
	if n := h.done.Add(int64(len(batch))); n >= h.want && n-int64(len(batch)) < h.want {
		close(h.through)
	}
	return verdicts
}

func (h *handler) wait(ctx context.Context) (result, error) {
	select {
	case <-h.through:
	case <-ctx.Done():
		return result{}, ctx.Err()
	}
	first := time.Unix(0, h.first.Load())
	r := result{rate: float64(h.want) / time.Since(first).Seconds()}
	if !h.healed.IsZero() {
		r.first = first.Sub(h.healed)
	}
	return r, nil
}

// fill publishes the mails in packs, at that rate; 0 is as fast as it goes.
func (s settings) fill(ctx context.Context, nc *nats.Conn, rate int) error {
	js := stream.JetStream(nc)
	raw := append([]byte("Subject: catching up\r\nFrom: a@example.net\r\n\r\n"), bytes.Repeat([]byte("x"), s.size)...)[:s.size]
	sum := sha256.Sum256(raw)
	start, sent := time.Now(), 0
	for sent < s.mails() {
		var envelopes [][]byte
		var digest stream.Digest
		var payload []byte
		var first ulid.ULID
		for i := range s.inPack {
			id := ulid.Make()
			if i == 0 {
				first = id
			}
			envelope := &mailv1.Envelope{
				Id: id[:], Size: uint64(len(raw)), Sha256: sum[:], ReceivedAt: time.Now().UnixMilli(), MailFrom: "a@example.net",
				Recipients: []*mailv1.Recipient{{Mailbox: "u@example.com"}},
			}
			env, err := proto.Marshal(envelope)
			if err != nil {
				return err
			}
			digest.Add(stream.DigestOf(envelope))
			envelopes, payload = append(envelopes, env), append(payload, raw...)
		}
		if _, err := js.PublishMsg(ctx, stream.EncodePack(stream.HeadSubject(0), first.String(), envelopes, digest, payload)); err != nil {
			return fmt.Errorf("filling the log: %w", err)
		}
		if sent += s.inPack; rate > 0 {
			time.Sleep(time.Until(start.Add(time.Duration(float64(sent) / float64(rate) * float64(time.Second)))))
		}
	}
	return nil
}
