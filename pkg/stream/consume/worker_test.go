package consume_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/consume"
	"github.com/sluice-mail/sluice/pkg/stream/dead"
	"github.com/sluice-mail/sluice/pkg/stream/internal/streamtest"
)

func TestAckOnlyAfterCommit(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	committing, commit := make(chan struct{}), make(chan struct{})
	rec := streamtest.NewRecorder(func(*stream.Message) consume.Verdict {
		committing <- struct{}{}
		<-commit
		return consume.Done()
	})
	f.Worker(consume.Config{}, rec)
	id, seq := f.Mail(0, "one\r\n")
	<-committing
	if got := f.Info(0, stream.Storer); got.AckFloor.Stream != 0 || got.NumAckPending != 1 {
		t.Fatalf("acknowledged before the handler returned: floor %d, pending %d", got.AckFloor.Stream, got.NumAckPending)
	}
	close(commit)
	streamtest.Eventually(t, "the acknowledgement", func() bool { return f.Info(0, stream.Storer).AckFloor.Stream == seq })
	if got := rec.Count(id); got != 1 {
		t.Errorf("handled %d times", got)
	}
}

func TestBatchesAreBoundedAndComplete(t *testing.T) {
	f := streamtest.New(t, 256<<20)
	const mails = 300
	for i := range mails {
		f.Mail(0, strings.Repeat("x", 20_000+i))
	}
	rec := streamtest.NewRecorder(nil)
	f.Worker(consume.Config{BatchMails: 50, BatchBytes: 1 << 20}, rec) // raised to 2 MiB: room for the largest message
	streamtest.Eventually(t, "all mails", func() bool { return rec.Total() == mails && f.Settled() })
	for _, b := range rec.Batches() {
		bytes := 0
		for _, m := range b {
			bytes += len(m.Raw)
		}
		if len(b) > 50 || bytes > consume.MinBatchBytes {
			t.Errorf("a batch of %d mails, %d bytes", len(b), bytes)
		}
	}
	if len(rec.Batches()) > mails/3 {
		t.Errorf("%d batches for %d waiting mails: hardly batched", len(rec.Batches()), mails)
	}
}

// A batch has mails of several messages, and a message may have more mails than a batch. It is acknowledged with its last.
func TestBatchesCountMailsNotMessages(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	var ids []ulid.ULID
	for range 10 {
		some, _ := f.Pack(0, raws(7, nil)...)
		ids = append(ids, some...)
	}
	big, last := f.Pack(0, raws(100, nil)...)
	var held atomic.Bool
	release := make(chan struct{})
	rec := streamtest.NewRecorder(func(m *stream.Message) consume.Verdict {
		if m.ID == big[99] {
			held.Store(true)
			<-release
		}
		return consume.Done()
	})
	f.Worker(consume.Config{BatchMails: 32, Workers: 2}, rec)
	streamtest.Eventually(t, "all but the last batch", func() bool { return held.Load() && f.Info(0, stream.Storer).AckFloor.Stream == last-1 })
	if got := f.Info(0, stream.Storer); got.NumAckPending != 1 {
		t.Errorf("%d messages are not acknowledged", got.NumAckPending)
	}
	close(release)
	streamtest.Eventually(t, "all mails", func() bool { return rec.Total() == len(ids)+100 && f.Settled() })
	for _, b := range rec.Batches() {
		if len(b) > 32 {
			t.Errorf("a batch of %d", len(b))
		}
	}
	if n := len(rec.Batches()); n > 9 {
		t.Errorf("%d batches for 170 mails: hardly batched", n)
	}
}

// The database is away for several times AckWait: the same mails are tried again and no delivery is used up.
func TestDatabaseAwayBurnsNoDeliveries(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	var away atomic.Bool
	var tries atomic.Int64
	away.Store(true)
	rec := streamtest.NewRecorder(func(*stream.Message) consume.Verdict {
		if tries.Add(1); away.Load() {
			return consume.Retry(errors.New("connection refused"))
		}
		return consume.Done()
	})
	var ids []ulid.ULID
	for i := range 20 {
		id, _ := f.Mail(0, fmt.Sprintf("mail %d\r\n", i))
		ids = append(ids, id)
	}
	w, _ := f.Worker(consume.Config{Grave: dead.New(f.NC), BatchMails: 4, Workers: 2}, rec)
	start := f.State(stream.StreamName(0)).LastTime
	streamtest.Eventually(t, "three times AckWait", func() bool {
		at, _ := f.Mail(0, "tick\r\n")
		ids = append(ids, at)
		return f.State(stream.StreamName(0)).LastTime.Sub(start) > 3*streamtest.AckWait
	})
	if err := w.Health(t.Context()); !streamtest.Says(err, "connection refused") {
		t.Errorf("health while the database is away: %v", err)
	}
	if got := f.Info(0, stream.Storer); got.NumRedelivered != 0 {
		t.Errorf("%d mails were redelivered", got.NumRedelivered)
	}
	if held := f.Info(0, stream.Storer).NumAckPending; held > 3*4 {
		t.Errorf("%d mails were fetched although the database is away", held)
	}
	away.Store(false)
	streamtest.Eventually(t, "all mails", func() bool { return rec.Total() == len(ids) && f.Settled() })
	for _, id := range ids {
		for _, m := range rec.Seen(id) {
			if m.Delivered != 1 {
				t.Fatalf("a mail used up %d deliveries", m.Delivered)
			}
		}
	}
	if err := w.Health(t.Context()); err != nil {
		t.Errorf("health afterwards: %v", err)
	}
	if n := len(letters(t, f)); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

func TestSlowHandlerIsNotRedelivered(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	release := make(chan struct{})
	rec := streamtest.NewRecorder(func(*stream.Message) consume.Verdict { <-release; return consume.Done() })
	f.Worker(consume.Config{Workers: 2, BatchMails: 1}, rec)
	first, _ := f.Mail(0, "slow\r\n")
	start := f.State(stream.StreamName(0)).LastTime
	streamtest.Eventually(t, "twice AckWait", func() bool {
		f.Mail(0, "tick\r\n")
		return f.State(stream.StreamName(0)).LastTime.Sub(start) > 2*streamtest.AckWait
	})
	close(release)
	streamtest.Eventually(t, "the acknowledgement", f.Settled)
	if got := len(rec.Seen(first)); got != 1 {
		t.Errorf("delivered %d times", got)
	}
}

func TestNewShardIsConsumed(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	rec := streamtest.NewRecorder(nil)
	w, _ := f.Worker(consume.Config{}, rec)
	id, _ := f.Mail(0, "zero\r\n")
	streamtest.Eventually(t, "shard 0", func() bool { return rec.Count(id) == 1 })
	f.AddShard(1)
	id, _ = f.Mail(1, "one\r\n")
	streamtest.Eventually(t, "shard 1", func() bool { return rec.Count(id) == 1 })
	if got := rec.Seen(id)[0]; got.Shard != 1 || got.Stream != "MAIL_1" {
		t.Errorf("shard %d of %s", got.Shard, got.Stream)
	}
	if got := w.Shards(); got != 2 {
		t.Errorf("%d shards", got)
	}
}

func TestTwoWorkersShareOneConsumer(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	a, b := streamtest.NewRecorder(nil), streamtest.NewRecorder(nil)
	f.Worker(consume.Config{BatchMails: 8}, a)
	f.Worker(consume.Config{BatchMails: 8}, b)
	for i := range 500 {
		f.Mail(0, fmt.Sprintf("mail %d\r\n", i))
	}
	streamtest.Eventually(t, "all mails", func() bool { return a.Total()+b.Total() == 500 && f.Settled() })
	if a.Total() == 0 || b.Total() == 0 {
		t.Errorf("one did nothing: %d, %d", a.Total(), b.Total())
	}
}

func TestStopDrainsInFlight(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	var handled atomic.Int64
	rec := streamtest.NewRecorder(func(*stream.Message) consume.Verdict { handled.Add(1); return consume.Done() })
	for i := range 1000 {
		f.Mail(0, fmt.Sprintf("mail %d\r\n", i))
	}
	_, stop := f.Worker(consume.Config{BatchMails: 16, Workers: 2}, rec)
	streamtest.Eventually(t, "some work", func() bool { return handled.Load() > 50 })
	stop()
	// The server takes acknowledgements in its own time, also after it was asked something.
	streamtest.Eventually(t, "every acknowledgement has come", func() bool { return f.Info(0, stream.Storer).NumAckPending == 0 })
	info := f.Info(0, stream.Storer)
	if info.NumRedelivered != 0 {
		t.Errorf("after the stop %d mails are redelivered", info.NumRedelivered)
	}
	if got := int64(info.Delivered.Consumer); got != handled.Load() {
		t.Errorf("%d delivered, %d handled", got, handled.Load())
	}
}

func TestStopWhileDatabaseIsAwayGivesMailBack(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	f.Mail(0, "x\r\n")
	rec := streamtest.NewRecorder(func(*stream.Message) consume.Verdict { return consume.Retry(errors.New("away")) })
	w, stop := f.Worker(consume.Config{}, rec)
	streamtest.Eventually(t, "the pause", func() bool {
		return w.Health(context.Background()) != nil && f.Info(0, stream.Storer).NumAckPending == 1
	})
	stop()
	again := streamtest.NewRecorder(nil)
	f.Worker(consume.Config{}, again)
	streamtest.Eventually(t, "the mail", func() bool { return again.Total() == 1 && f.Settled() })
	if got := again.Batches()[0][0].Delivered; got != 2 {
		t.Errorf("one stop used up %d deliveries", got-1)
	}
}

func TestNothingIsFetchedBeforeReady(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	f.Mail(0, "x\r\n")
	var asked, ready atomic.Int64
	rec := streamtest.NewRecorder(nil)
	w, _ := f.Worker(consume.Config{Ready: func(context.Context) error {
		if asked.Add(1); ready.Load() == 0 {
			return errors.New("no database yet")
		}
		return nil
	}}, rec)
	streamtest.Eventually(t, "several questions", func() bool { return asked.Load() > 5 })
	if err := w.Health(t.Context()); !streamtest.Says(err, "no database yet") {
		t.Errorf("health: %v", err)
	}
	if got := f.Info(0, stream.Storer); got.NumAckPending != 0 || got.Delivered.Consumer != 0 {
		t.Errorf("fetched %d", got.Delivered.Consumer)
	}
	ready.Store(1)
	streamtest.Eventually(t, "the mail", func() bool { return rec.Total() == 1 })
}

func TestConsumerRecreatedUnderTheWorker(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	rec := streamtest.NewRecorder(nil)
	f.Worker(consume.Config{}, rec)
	f.Mail(0, "before\r\n")
	streamtest.Eventually(t, "the first mail", func() bool { return rec.Total() == 1 && f.Settled() })
	if err := f.JS.DeleteConsumer(f.Context(), stream.StreamName(0), stream.Storer); err != nil {
		t.Fatal(err)
	}
	f.AddShard(0) // the consumer anew: everything is delivered again
	id, _ := f.Mail(0, "after\r\n")
	streamtest.Eventually(t, "the second mail", func() bool { return rec.Count(id) == 1 && f.Settled() })
}
