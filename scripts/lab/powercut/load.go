package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/publish"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
	"github.com/sluice-mail/sluice/scripts/lab/logbench/server"
)

// ack is a mail that Publish accepted.
type ack struct {
	id  ulid.ULID
	sum [32]byte
	at  time.Time
}

// sender publishes and keeps what was accepted.
type sender struct {
	publisher *publish.Publisher
	mu        sync.Mutex
	acks      []ack
	large     int // of the accepted ones
	refused   int
	permanent error // a refusal that is not one of pkg/stream/publish's, all of which become a 4xx
}

// send publishes one mail and says whether it was accepted.
func (s *sender) send(ctx context.Context, size int) bool {
	raw := make([]byte, size)
	_, _ = rand.Read(raw)
	id, sum := ulid.Make(), sha256.Sum256(raw)
	env := &mailv1.Envelope{Id: id[:], Size: uint64(size), Sha256: sum[:], Recipients: []*mailv1.Recipient{{Mailbox: "user@example.com"}}}
	m := publish.Mail{Envelope: env, Raw: raw}
	err := s.publisher.Publish(ctx, m)
	at := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.refused++
		if !temporary(err) {
			s.permanent = errors.Join(s.permanent, err)
		}
		return false
	}
	s.acks = append(s.acks, ack{id, sum, at})
	if size > stream.PartBytes {
		s.large++
	}
	return true
}

func temporary(err error) bool {
	return slices.ContainsFunc([]error{
		publish.ErrFull, publish.ErrBusy, publish.ErrUnavailable, publish.ErrUnconfirmed, publish.ErrUnsynced, publish.ErrRefused, publish.ErrClock,
	}, func(kind error) bool { return errors.Is(err, kind) })
}

// record runs the server under strace with a load on it, kills it, and returns the acknowledged mails by time.
func record(ctx context.Context, s settings, store, trace string) ([]ack, error) {
	if _, err := exec.LookPath("strace"); err != nil {
		return nil, fmt.Errorf("needs strace: %w", err)
	}
	srv, err := server.Start(ctx, server.Options{Binary: s.binary, Store: store, SyncAlways: !s.unsynced, Wrap: straceArgs(trace)})
	if err != nil {
		return nil, err
	}
	defer srv.Kill()
	from, done, err := publisher(ctx, s, srv.URL, srv.Monitor, stream.Shape{Shards: 1, Replicas: 1, MaxBytes: 2 << 30})
	if err != nil {
		return nil, err
	}
	defer done()
	for range 20 { // one by one: no batches
		from.send(ctx, 4000)
	}
	var senders sync.WaitGroup
	senders.Go(func() { from.send(ctx, 5<<20) })
	for range 64 {
		senders.Go(func() {
			for range s.mails / 64 {
				from.send(ctx, 4000)
			}
		})
	}
	senders.Wait()
	if from.refused > 0 {
		return nil, fmt.Errorf("%d mails were refused", from.refused)
	}
	slices.SortFunc(from.acks, func(a, b ack) int { return a.at.Compare(b.at) })
	return from.acks, nil
}

// publisher connects to the servers and makes the streams.
func publisher(ctx context.Context, s settings, url, monitor string, shape stream.Shape) (*sender, func(), error) {
	quiet := slog.New(slog.DiscardHandler)
	nc, err := stream.Connect(stream.ConnConfig{URL: url}, stream.ConnOptions{Name: "powercut", Logger: quiet})
	if err != nil {
		return nil, nil, err
	}
	err = patiently(ctx, func() error { // a cluster needs a leader first
		durability, err := stream.ReadDurability(ctx, monitor, nc)
		if err != nil {
			return err
		}
		return stream.Ensure(ctx, nc, shape, durability, quiet)
	})
	if err != nil {
		return nil, nil, err
	}
	p := publish.New(nc, publish.Config{AllowUnsynced: s.unsynced}, quiet, prometheus.NewRegistry())
	runCtx, cancel := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- p.Run(runCtx) }()
	for p.Ready() != nil && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	return &sender{publisher: p}, func() { cancel(); <-ran; nc.Close() }, nil
}

// patiently tries again for two minutes.
func patiently(ctx context.Context, try func() error) error {
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if err := try(); err == nil || ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
	}
}

// missing starts a server on a store and counts the mails that are not in it, whole.
func missing(ctx context.Context, s settings, store string, acks []ack) (missing, copies int, err error) {
	srv, err := server.Start(ctx, server.Options{Binary: s.binary, Store: store, SyncAlways: true})
	if err != nil {
		return 0, 0, fmt.Errorf("starting a server on the rebuilt store: %w", err)
	}
	defer srv.Stop()
	return count(ctx, srv.URL, acks)
}

// count counts the mails that are not in the log, whole, and those that are in it more than once.
func count(ctx context.Context, url string, acks []ack) (missing, copies int, err error) {
	nc, err := nats.Connect(url)
	if err != nil {
		return 0, 0, err
	}
	defer nc.Close()
	found, err := contents(ctx, nc)
	if err != nil {
		return 0, 0, err
	}
	for _, a := range acks {
		n := found[key{a.id, a.sum}]
		if n == 0 {
			missing++
		} else {
			copies += n - 1
		}
	}
	return missing, copies, nil
}

type key struct {
	id  ulid.ULID
	sum [32]byte
}

// contents is every mail in the log with the sum of its bytes as they are. Where the log ends, and what is in it, is
// the leader's word: it has what was acknowledged, a replica may be catching up.
func contents(ctx context.Context, nc *nats.Conn) (map[key]int, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	found := map[key]int{}
	st, err := js.Stream(ctx, stream.StreamName(0))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return found, nil // nothing is in it
	}
	if err != nil {
		return nil, err
	}
	state := st.CachedInfo().State
	parts := [][]byte{}
	for seq := state.FirstSeq; seq <= state.LastSeq && state.Msgs > 0; seq++ {
		msg, err := message(ctx, nc, seq)
		if err != nil {
			return nil, err
		}
		if msg == nil {
			parts = nil
			continue
		}
		if msg.Subject != stream.HeadSubject(0) {
			parts = append(parts, msg.Data)
			continue
		}
		mails, err := stream.Unpack(msg.Header, msg.Data)
		if err != nil {
			return nil, err
		}
		for _, m := range mails {
			raw := m.Raw
			if n := int(m.Envelope.Parts); n > 0 {
				raw = bytes.Join(parts[max(0, len(parts)-n):], nil)
			}
			found[key{m.ID, sha256.Sum256(raw)}]++
		}
		parts = nil
	}
	return found, nil
}

// message asks the leader for a message; nil when it is not there. jetstream's GetMsg would ask any replica.
func message(ctx context.Context, nc *nats.Conn, seq uint64) (msg *nats.RawStreamMsg, err error) {
	leader, err := nc.JetStream()
	if err != nil {
		return nil, err
	}
	err = patiently(ctx, func() error {
		msg, err = leader.GetMsg(stream.StreamName(0), seq)
		var refusal nats.JetStreamError
		if errors.As(err, &refusal) && refusal.APIError().Code != http.StatusServiceUnavailable {
			msg = nil
			return nil
		}
		return err
	})
	return msg, err
}
