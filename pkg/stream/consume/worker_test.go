package consume

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/stream"
)

func TestAckOnlyAfterCommit(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	committing, commit := make(chan struct{}), make(chan struct{})
	rec := newRecorder(func(*stream.Message) Verdict {
		committing <- struct{}{}
		<-commit
		return Done()
	})
	f.worker(WorkerConfig{}, rec)
	id, seq := f.mail(0, "one\r\n")
	<-committing
	if got := f.info(0, stream.Storer); got.AckFloor.Stream != 0 || got.NumAckPending != 1 {
		t.Fatalf("acknowledged before the handler returned: floor %d, pending %d", got.AckFloor.Stream, got.NumAckPending)
	}
	close(commit)
	eventually(t, "the acknowledgement", func() bool { return f.info(0, stream.Storer).AckFloor.Stream == seq })
	if got := rec.count(id); got != 1 {
		t.Errorf("handled %d times", got)
	}
}

func TestBatchesAreBoundedAndComplete(t *testing.T) {
	f := newLogFixture(t, 256<<20)
	const mails = 300
	for i := range mails {
		f.mail(0, strings.Repeat("x", 20_000+i))
	}
	rec := newRecorder(nil)
	f.worker(WorkerConfig{BatchMessages: 50, BatchBytes: 1 << 20}, rec) // raised to 2 MiB: room for the largest message
	eventually(t, "all mails", func() bool { return rec.total() == mails && f.settled() })
	for _, b := range rec.batches {
		bytes := 0
		for _, m := range b {
			bytes += len(m.Raw)
		}
		if len(b) > 50 || bytes > minBatchBytes {
			t.Errorf("a batch of %d mails, %d bytes", len(b), bytes)
		}
	}
	if len(rec.batches) > mails/3 {
		t.Errorf("%d batches for %d waiting mails: hardly batched", len(rec.batches), mails)
	}
}

// The database is away for several times AckWait: the same mails are tried again and no delivery is used up.
func TestDatabaseAwayBurnsNoDeliveries(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	var away atomic.Bool
	var tries atomic.Int64
	away.Store(true)
	rec := newRecorder(func(*stream.Message) Verdict {
		if tries.Add(1); away.Load() {
			return Retry(errors.New("connection refused"))
		}
		return Done()
	})
	var ids []ulid.ULID
	for i := range 20 {
		id, _ := f.mail(0, fmt.Sprintf("mail %d\r\n", i))
		ids = append(ids, id)
	}
	w, _ := f.worker(WorkerConfig{DeadLetters: true, BatchMessages: 4, Workers: 2}, rec)
	start := f.state(stream.StreamName(0)).LastTime
	eventually(t, "three times AckWait", func() bool {
		at, _ := f.mail(0, "tick\r\n")
		ids = append(ids, at)
		return f.state(stream.StreamName(0)).LastTime.Sub(start) > 3*fixtureAckWait
	})
	if err := w.Health(t.Context()); !containsText(err, "connection refused") {
		t.Errorf("health while the database is away: %v", err)
	}
	if got := f.info(0, stream.Storer); got.NumRedelivered != 0 {
		t.Errorf("%d mails were redelivered", got.NumRedelivered)
	}
	if held := f.info(0, stream.Storer).NumAckPending; held > 3*4 {
		t.Errorf("%d mails were fetched although the database is away", held)
	}
	away.Store(false)
	eventually(t, "all mails", func() bool { return rec.total() == len(ids) && f.settled() })
	for _, id := range ids {
		for _, m := range rec.seen(id) {
			if m.Delivered != 1 {
				t.Fatalf("a mail used up %d deliveries", m.Delivered)
			}
		}
	}
	if err := w.Health(t.Context()); err != nil {
		t.Errorf("health afterwards: %v", err)
	}
	if n := len(f.dead()); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

func TestSlowHandlerIsNotRedelivered(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	release := make(chan struct{})
	rec := newRecorder(func(*stream.Message) Verdict { <-release; return Done() })
	f.worker(WorkerConfig{Workers: 2, BatchMessages: 1}, rec)
	first, _ := f.mail(0, "slow\r\n")
	start := f.state(stream.StreamName(0)).LastTime
	eventually(t, "twice AckWait", func() bool {
		f.mail(0, "tick\r\n")
		return f.state(stream.StreamName(0)).LastTime.Sub(start) > 2*fixtureAckWait
	})
	close(release)
	eventually(t, "the acknowledgement", f.settled)
	if got := len(rec.seen(first)); got != 1 {
		t.Errorf("delivered %d times", got)
	}
}

func TestNewShardIsConsumed(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	rec := newRecorder(nil)
	w, _ := f.worker(WorkerConfig{}, rec)
	id, _ := f.mail(0, "zero\r\n")
	eventually(t, "shard 0", func() bool { return rec.count(id) == 1 })
	f.addShard(1)
	id, _ = f.mail(1, "one\r\n")
	eventually(t, "shard 1", func() bool { return rec.count(id) == 1 })
	if got := rec.seen(id)[0]; got.Shard != 1 || got.Stream != "MAIL_1" {
		t.Errorf("shard %d of %s", got.Shard, got.Stream)
	}
	if got := w.engine.shards.Load(); got != 2 {
		t.Errorf("%d shards", got)
	}
}

func TestTwoWorkersShareOneConsumer(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	a, b := newRecorder(nil), newRecorder(nil)
	f.worker(WorkerConfig{BatchMessages: 8}, a)
	f.worker(WorkerConfig{BatchMessages: 8}, b)
	for i := range 500 {
		f.mail(0, fmt.Sprintf("mail %d\r\n", i))
	}
	eventually(t, "all mails", func() bool { return a.total()+b.total() == 500 && f.settled() })
	if a.total() == 0 || b.total() == 0 {
		t.Errorf("one did nothing: %d, %d", a.total(), b.total())
	}
}

func TestStopDrainsInFlight(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	var handled atomic.Int64
	rec := newRecorder(func(*stream.Message) Verdict { handled.Add(1); return Done() })
	for i := range 1000 {
		f.mail(0, fmt.Sprintf("mail %d\r\n", i))
	}
	_, stop := f.worker(WorkerConfig{BatchMessages: 16, Workers: 2}, rec)
	eventually(t, "some work", func() bool { return handled.Load() > 50 })
	stop()
	// The server takes acknowledgements in its own time, also after it was asked something.
	eventually(t, "every acknowledgement has come", func() bool { return f.info(0, stream.Storer).NumAckPending == 0 })
	info := f.info(0, stream.Storer)
	if info.NumRedelivered != 0 {
		t.Errorf("after the stop %d mails are redelivered", info.NumRedelivered)
	}
	if got := int64(info.Delivered.Consumer); got != handled.Load() {
		t.Errorf("%d delivered, %d handled", got, handled.Load())
	}
}

func TestStopWhileDatabaseIsAwayGivesMailBack(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	f.mail(0, "x\r\n")
	rec := newRecorder(func(*stream.Message) Verdict { return Retry(errors.New("away")) })
	w, stop := f.worker(WorkerConfig{}, rec)
	eventually(t, "the pause", func() bool {
		return w.Health(context.Background()) != nil && f.info(0, stream.Storer).NumAckPending == 1
	})
	stop()
	again := newRecorder(nil)
	f.worker(WorkerConfig{}, again)
	eventually(t, "the mail", func() bool { return again.total() == 1 && f.settled() })
	if got := again.batches[0][0].Delivered; got != 2 {
		t.Errorf("one stop used up %d deliveries", got-1)
	}
}

func TestNothingIsFetchedBeforeReady(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	f.mail(0, "x\r\n")
	var asked, ready atomic.Int64
	rec := newRecorder(nil)
	w, _ := f.worker(WorkerConfig{Ready: func(context.Context) error {
		if asked.Add(1); ready.Load() == 0 {
			return errors.New("no database yet")
		}
		return nil
	}}, rec)
	eventually(t, "several questions", func() bool { return asked.Load() > 5 })
	if err := w.Health(t.Context()); !containsText(err, "no database yet") {
		t.Errorf("health: %v", err)
	}
	if got := f.info(0, stream.Storer); got.NumAckPending != 0 || got.Delivered.Consumer != 0 {
		t.Errorf("fetched %d", got.Delivered.Consumer)
	}
	ready.Store(1)
	eventually(t, "the mail", func() bool { return rec.total() == 1 })
}

func TestConsumerRecreatedUnderTheWorker(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	rec := newRecorder(nil)
	f.worker(WorkerConfig{}, rec)
	f.mail(0, "before\r\n")
	eventually(t, "the first mail", func() bool { return rec.total() == 1 && f.settled() })
	if err := f.js.DeleteConsumer(f.ctx(), stream.StreamName(0), stream.Storer); err != nil {
		t.Fatal(err)
	}
	f.addShard(0) // the consumer anew: everything is delivered again
	id, _ := f.mail(0, "after\r\n")
	eventually(t, "the second mail", func() bool { return rec.count(id) == 1 && f.settled() })
}
