package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/proto"

	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

// world is a log with mail in it, and an empty database.
type world struct {
	settings
	fleet *fleet.Fleet
	nc    *nats.Conn
	last  uint64
}

func start(ctx context.Context, binaries fleet.Binaries, s settings) (w *world, err error) {
	dir, err := os.MkdirTemp("", "auditbench-log")
	if err != nil {
		return nil, err
	}
	f, err := fleet.New(dir, binaries, 0)
	w = &world{settings: s, fleet: f}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if err != nil {
		return nil, err
	}
	if err := f.NATS.Start(); err != nil {
		return nil, err
	}
	if _, err := f.Command(ctx, f.Env(), "storer", "migrate"); err != nil {
		return nil, err
	}
	if w.nc, err = nats.Connect("nats://" + f.NATS.Addrs["client"]); err != nil {
		return nil, err
	}
	bench.Progress("filling the log")
	return w, w.fill(ctx)
}

func (w *world) close() {
	if w.nc != nil {
		w.nc.Close()
	}
	_ = errors.Join(w.fleet.Close(), os.RemoveAll(w.fleet.Dir))
}

// fill publishes the mails in packs, as the ingress makes them under load.
func (w *world) fill(ctx context.Context) error {
	js, random := stream.JetStream(w.nc), rand.New(rand.NewPCG(1, 2))
	words := make([]string, 3000)
	for i := range words {
		word := make([]byte, 2+random.IntN(9))
		for j := range word {
			word[j] = "etaoinshrdlucmfwypvbgkjqxz"[min(random.IntN(26), random.IntN(26))]
		}
		words[i] = string(word)
	}
	start := time.Now()
	for sent := 0; sent < w.mails; sent += w.inPack {
		time.Sleep(time.Until(start.Add(time.Duration(sent) * time.Second / time.Duration(w.rate))))
		var envelopes [][]byte
		var digest stream.Digest
		var payload []byte
		var first ulid.ULID
		for i := range w.inPack {
			id := ulid.Make()
			if i == 0 {
				first = id
			}
			raw := mail(random, words, id, w.size)
			sum := sha256.Sum256(raw)
			envelope := &mailv1.Envelope{
				Id: id[:], Size: uint64(len(raw)), Sha256: sum[:], ReceivedAt: time.Now().UnixMilli(), MailFrom: "sender@example.net",
				Ingress: "mx0.example.com", Helo: "client.example.net", Protocol: "ESMTP", Client: &mailv1.Endpoint{Ip: []byte{192, 0, 2, 1}, Port: 4711},
				Recipients: []*mailv1.Recipient{{Mailbox: fmt.Sprintf("user%d@example.com", random.IntN(50_000))}, {Mailbox: "list@example.com"}},
			}
			env, err := proto.Marshal(envelope)
			if err != nil {
				return err
			}
			digest.Add(stream.DigestOf(envelope))
			envelopes, payload = append(envelopes, env), append(payload, raw...)
		}
		ack, err := js.PublishMsg(ctx, stream.EncodePack(stream.HeadSubject(0), first.String(), envelopes, digest, payload))
		if err != nil {
			return fmt.Errorf("filling the log: %w", err)
		}
		w.last = ack.Sequence
	}
	return nil
}

func mail(random *rand.Rand, words []string, id ulid.ULID, size int) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "Subject: mail %s\r\nFrom: Sender <sender@example.net>\r\nTo: list@example.com\r\n\r\n", id)
	for b.Len() < size {
		b.WriteString(words[min(random.IntN(len(words)), random.IntN(len(words)))])
		b.WriteString([]string{" ", " ", " ", " ", ", ", ".\r\n"}[random.IntN(6)])
	}
	return []byte(b.String()[:size])
}
