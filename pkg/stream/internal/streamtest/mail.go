package streamtest

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-mail/sluice/pkg/stream"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// PartBytes is how much of a large mail one part carries here: little, so that the large mails of tests are small.
const PartBytes = 100 << 10

// Envelope is that of a new mail from a@b.example, to u@example.com unless recipients are given.
func Envelope(raw []byte, rcpts ...string) *mailv1.Envelope {
	if len(rcpts) == 0 {
		rcpts = []string{"u@example.com"}
	}
	id, sum := ulid.Make(), sha256.Sum256(raw)
	env := &mailv1.Envelope{Id: id[:], ReceivedAt: time.Now().UnixMilli(), MailFrom: "a@b.example", Size: uint64(len(raw)), Sha256: sum[:]}
	for _, r := range rcpts {
		env.Recipients = append(env.Recipients, &mailv1.Recipient{Mailbox: r})
	}
	return env
}

// ID is the id of an envelope that Envelope made.
func ID(env *mailv1.Envelope) ulid.ULID { return ulid.ULID(env.GetId()) }

// Bytes are n bytes that look random; the same seed makes the same.
func Bytes(n int, seed byte) []byte {
	b := make([]byte, n)
	x := uint32(seed) + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// Head is the stream message of a mail.
func (f *Fixture) Head(shard int, env *mailv1.Envelope, raw []byte) *nats.Msg {
	f.t.Helper()
	text, err := stream.EncodeEnvelope(env)
	if err != nil {
		f.t.Fatal(err)
	}
	msg := nats.NewMsg(stream.HeadSubject(shard))
	msg.Header.Set(stream.EnvelopeHeader, text)
	msg.Header.Set(stream.IDHeader, ID(env).String())
	msg.Data = raw
	return msg
}

// Send publishes a message and returns its sequence.
func (f *Fixture) Send(msg *nats.Msg) uint64 {
	f.t.Helper()
	ack, err := f.JS.PublishMsg(f.Context(), msg)
	if err != nil {
		f.t.Fatalf("publishing: %v", err)
	}
	return ack.Sequence
}

// Mail publishes a small mail.
func (f *Fixture) Mail(shard int, raw string, rcpts ...string) (id ulid.ULID, seq uint64) {
	f.t.Helper()
	env := Envelope([]byte(raw), rcpts...)
	return ID(env), f.Send(f.Head(shard, env, []byte(raw)))
}

// Pack publishes small mails in one message.
func (f *Fixture) Pack(shard int, raws ...string) (ids []ulid.ULID, seq uint64) {
	f.t.Helper()
	return f.SpoiltPack(shard, -1, raws...)
}

// SpoiltPack is Pack, but the mail with that number, from 0, is not what its envelope says.
func (f *Fixture) SpoiltPack(shard, spoilt int, raws ...string) (ids []ulid.ULID, seq uint64) {
	f.t.Helper()
	var envelopes [][]byte
	var sum stream.Digest
	var payload []byte
	for i, raw := range raws {
		env := Envelope([]byte(raw))
		if i == spoilt {
			raw = strings.Repeat("?", len(raw))
		}
		text, err := proto.Marshal(env)
		if err != nil {
			f.t.Fatal(err)
		}
		sum.Add(stream.DigestOf(env))
		ids, envelopes, payload = append(ids, ID(env)), append(envelopes, text), append(payload, raw...)
	}
	return ids, f.Send(stream.EncodePack(stream.HeadSubject(shard), ids[0].String(), envelopes, sum, payload))
}

// Mails publishes n small mails.
func (f *Fixture) Mails(shard, n int, rcpts ...string) (ids []ulid.ULID, last uint64) {
	f.t.Helper()
	for i := range n {
		id, seq := f.Mail(shard, fmt.Sprintf("mail %d\r\n", i), rcpts...)
		ids, last = append(ids, id), seq
	}
	return ids, last
}

// Fill puts n mails of that size into shard 0, many at once: for benchmarks.
func (f *Fixture) Fill(n, size int) {
	f.t.Helper()
	raw := Bytes(size, 1)
	for i := range n {
		if _, err := f.JS.PublishMsgAsync(f.Head(0, Envelope(raw), raw)); err != nil {
			f.t.Fatal(err)
		}
		if i%1000 == 999 || i == n-1 {
			<-f.JS.PublishAsyncComplete()
		}
	}
}

// Large publishes a large mail, its parts and then its head, as one atomic batch.
func (f *Fixture) Large(shard int, raw []byte) (env *mailv1.Envelope, seq uint64) {
	f.t.Helper()
	return f.Spoilt(shard, raw, func(int, *nats.Msg) {})
}

// Spoilt is Large, but spoil may change each part (from 0) before it is sent. It writes the batch by itself, not with
// package publish: so the tests of the readers check the wire of the writer, too.
func (f *Fixture) Spoilt(shard int, raw []byte, spoil func(part int, msg *nats.Msg)) (env *mailv1.Envelope, seq uint64) {
	f.t.Helper()
	env = Envelope(raw)
	env.Requires = uint64(mailv1.Require_REQUIRE_PARTS)
	batch, n := nuid.Next(), 0
	ask := func(msg *nats.Msg) []byte {
		n++
		msg.Header.Set("Nats-Batch-Id", batch)
		msg.Header.Set("Nats-Batch-Sequence", strconv.Itoa(n))
		answer, err := f.NC.RequestMsgWithContext(f.Context(), msg)
		if err != nil {
			f.t.Fatalf("publishing member %d of a large mail: %v", n, err)
		}
		return answer.Data
	}
	for rest := raw; len(rest) > 0; env.Parts++ {
		size := min(PartBytes, len(rest))
		msg := nats.NewMsg(stream.PartSubject(shard))
		msg.Header.Set(stream.IDHeader, fmt.Sprintf("%s/%d", ID(env), env.Parts))
		msg.Data, rest = rest[:size], rest[size:]
		spoil(int(env.Parts), msg)
		if answer := ask(msg); len(answer) > 0 { // staged: no more is said
			f.t.Fatalf("publishing a part: %s", answer)
		}
	}
	head := f.Head(shard, env, nil)
	head.Header.Set("Nats-Batch-Commit", "1")
	answer := ask(head)
	var ack struct {
		Seq   uint64
		Batch string
		Count int
	}
	if err := json.Unmarshal(answer, &ack); err != nil || ack.Batch != batch || ack.Count != n {
		f.t.Fatalf("committing a large mail of %d messages: %s (%v)", n, answer, err)
	}
	return env, ack.Seq
}
