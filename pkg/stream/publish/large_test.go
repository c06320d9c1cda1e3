package publish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/stream"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// pattern is a body of any size that nobody holds: its bytes follow from their place.
type pattern struct{ seed uint64 }

func (p pattern) ReadAt(b []byte, off int64) (int, error) {
	for i := range b {
		x := uint64(off) + uint64(i)
		b[i] = byte((x*0x9E3779B97F4A7C15 + p.seed) >> 56)
	}
	return len(b), nil
}

func largeTestMail(t *testing.T, size int64) Mail {
	t.Helper()
	body := pattern{rand.Uint64()}
	hash := sha256.New()
	if _, err := io.Copy(hash, io.NewSectionReader(body, 0, size)); err != nil {
		t.Fatal(err)
	}
	id := ulid.Make()
	return Mail{Body: body, Envelope: &mailv1.Envelope{Id: id[:], Size: uint64(size), Sha256: hash.Sum(nil)}}
}

// readBack checks a large mail in the log: the parts just before the head, all bytes.
func readBack(t *testing.T, js jetstream.JetStream, m Mail, got []inLog) error {
	t.Helper()
	st, err := js.Stream(t.Context(), stream.StreamName(0))
	if err != nil {
		return err
	}
	if len(got) == 0 {
		return errors.New("it is not in the log")
	}
	for _, head := range got {
		env, _, err := stream.DecodeEnvelope(head.Headers().Get(stream.EnvelopeHeader))
		if err != nil {
			return err
		}
		if env.Requires&uint64(mailv1.Require_REQUIRE_PARTS) == 0 {
			return errors.New("its envelope does not say that it needs parts")
		}
		hash, total := sha256.New(), 0
		for i := range uint64(env.Parts) {
			part, err := st.GetMsg(t.Context(), head.sequence-uint64(env.Parts)+i)
			if err != nil {
				return fmt.Errorf("part %d: %w", i, err)
			}
			if part.Subject != stream.PartSubject(0) {
				return fmt.Errorf("part %d is %s", i, part.Subject)
			}
			total += len(part.Data)
			_, _ = hash.Write(part.Data)
		}
		if total != int(m.Envelope.Size) || !bytes.Equal(hash.Sum(nil), m.Envelope.Sha256) {
			return fmt.Errorf("%d bytes come back, %d went in, or they differ", total, m.Envelope.Size)
		}
	}
	return nil
}

// longEnough is more than hundreds of megabytes take on a busy machine with the race detector.
const longEnough = 10 * time.Minute

// TestLargeMailByteExact: below, at and above the size of one message, and far above.
func TestLargeMailByteExact(t *testing.T) {
	log := startLog(t, oneShard())
	p := startPublisher(t, log.nc, Config{Deadline: longEnough})
	waitReady(t, p)
	for _, size := range []int64{stream.PartBytes + 1, 2 * stream.PartBytes, 2*stream.PartBytes + 1, 25 << 20, 100 << 20} {
		m := largeTestMail(t, size)
		start := time.Now()
		if err := p.Publish(t.Context(), m); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		t.Logf("%d bytes in %v", size, time.Since(start))
		if err := readBack(t, log.js, m, heads(t, log.js, 0)[mailID(m)]); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		if m.Envelope.Parts != 0 || m.Envelope.Requires != 0 {
			t.Error("the caller's envelope was changed")
		}
	}
	m := newMail(t, stream.PartBytes)
	if err := p.Publish(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if err := sameMail(m, heads(t, log.js, 0)[mailID(m)]); err != nil {
		t.Errorf("a mail of exactly one message: %v", err)
	}
}

// TestSixteenLargeMailsAtOnce: more than the log's ingest queue holds, with small mail meanwhile.
func TestSixteenLargeMailsAtOnce(t *testing.T) {
	log := startLog(t, stream.Shape{Shards: 1, Replicas: 1, MaxBytes: 1 << 30})
	p := startPublisher(t, log.nc, Config{MaxLarge: 16, Deadline: longEnough})
	waitReady(t, p)
	l := startLoad(t, p, 2)
	var mu sync.Mutex
	var accepted []Mail
	var senders sync.WaitGroup
	for range 16 {
		senders.Go(func() {
			m := largeTestMail(t, 25<<20)
			if err := p.Publish(t.Context(), m); err != nil {
				t.Errorf("publishing: %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			accepted = append(accepted, m)
		})
	}
	senders.Wait()
	l.end()
	found := heads(t, log.js, 0)
	for _, m := range accepted {
		if err := readBack(t, log.js, m, found[mailID(m)]); err != nil {
			t.Errorf("mail %s: %v", mailID(m), err)
		}
	}
	l.verify(t, log.js, 0)
}

// TestLargeMailThatDoesNotFit is refused as a whole and leaves the shard open for small mail.
func TestLargeMailThatDoesNotFit(t *testing.T) {
	log := startLog(t, stream.Shape{Shards: 1, Replicas: 1, MaxBytes: 8 << 20})
	p := startPublisher(t, log.nc, Config{})
	waitReady(t, p)
	if err := p.Publish(t.Context(), largeTestMail(t, 20<<20)); !errors.Is(err, ErrFull) {
		t.Errorf("told %v, want %v", err, ErrFull)
	}
	if err := p.Publish(t.Context(), newMail(t, 1000)); err != nil {
		t.Errorf("a small mail after it: %v", err)
	}
	if got := len(heads(t, log.js, 0)); got != 1 {
		t.Errorf("%d mails in the log, want the small one", got)
	}
}

// failing is a spool file that cannot be read to its end.
type failing struct{}

var errDisk = errors.New("input/output error")

func (failing) ReadAt(b []byte, off int64) (int, error) {
	if off > 2*stream.PartBytes {
		return 0, errDisk
	}
	return len(b), nil
}

// TestUnreadableSpoolLeavesNothing: a mail whose body fails halfway was never there.
func TestUnreadableSpoolLeavesNothing(t *testing.T) {
	log := startLog(t, oneShard())
	p := startPublisher(t, log.nc, Config{})
	waitReady(t, p)
	m := largeTestMail(t, 10<<20)
	m.Body = failing{}
	if err := p.Publish(t.Context(), m); !errors.Is(err, errDisk) {
		t.Errorf("told %v, want %v", err, errDisk)
	}
	st, err := log.js.Stream(t.Context(), stream.StreamName(0))
	if err != nil {
		t.Fatal(err)
	}
	if got := st.CachedInfo().State.Msgs; got != 0 {
		t.Errorf("%d messages in the log", got)
	}
}

// TestLargeMailWaitsForItsTurn, but not longer than its sender.
func TestLargeMailWaitsForItsTurn(t *testing.T) {
	p := startSilentLog(t)
	p.shards = []*shard{testShard(p, 0)}
	p.large <- struct{}{}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.Publish(ctx, largeTestMail(t, 2<<20)); !errors.Is(err, ErrBusy) {
		t.Errorf("told %v, want %v", err, ErrBusy)
	}
}
