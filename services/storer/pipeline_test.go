package storer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/sqlite"
	"github.com/sluice-mail/sluice/pkg/natsd"
	"github.com/sluice-mail/sluice/pkg/obs"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/dead"
	"github.com/sluice-mail/sluice/pkg/stream/publish"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// pipeline is a log, a storer and a SQLite store that can be told to misbehave.
type pipeline struct {
	t         *testing.T
	conn      *nats.Conn
	publisher *publish.Publisher
	service   *Service
	store     *faultyStore
	metrics   *prometheus.Registry
}

// faultyStore refuses, crashes or is away on demand; else it is the real store.
type faultyStore struct {
	mailstore.Store
	refuse, crash, away atomic.Bool
	writes, clock       atomic.Int64 // clock: how far the database's is ahead
}

var (
	errRefused = &mailstore.Error{Class: mailstore.Data, Op: "insert", Err: errors.New("data too long for column 'subject'")}
	errAway    = &mailstore.Error{Class: mailstore.Pause, Op: "insert", Err: errors.New("connection refused")}
)

func (f *faultyStore) PutBatch(ctx context.Context, mails []mailstore.Mail) (mailstore.Result, error) {
	f.writes.Add(1)
	if f.away.Load() {
		return mailstore.Result{}, errAway
	}
	for _, m := range mails {
		switch {
		case f.refuse.Load() && strings.HasPrefix(m.Sender, "refused"):
			return mailstore.Result{}, errRefused
		case f.crash.Load() && strings.HasPrefix(m.Sender, "crash"):
			panic("index out of range")
		}
	}
	return f.Store.PutBatch(ctx, mails)
}

func (f *faultyStore) Vitals(ctx context.Context) (mailstore.Vitals, error) {
	if f.away.Load() {
		return mailstore.Vitals{}, errAway
	}
	v, err := f.Store.Vitals(ctx)
	v.Clock = v.Clock.Add(time.Duration(f.clock.Load()))
	return v, err
}

func (f *faultyStore) PutOne(ctx context.Context, mail mailstore.Mail) (mailstore.Result, error) {
	if f.refuse.Load() && strings.HasPrefix(mail.Sender, "refused") {
		return mailstore.Result{}, errRefused
	}
	return f.Store.PutOne(ctx, mail)
}

// start runs a storer with a SQLite store.
func start(t *testing.T) *pipeline {
	t.Helper()
	p := newPipeline(t, openSQLite)
	p.run(p.service.Run)
	return p
}

func openSQLite(t *testing.T, logger *slog.Logger, metrics *prometheus.Registry) (mailstore.Store, error) {
	return sqlite.Open(sqlite.Config{Path: filepath.Join(t.TempDir(), "sluice.db"), Codec: mailstore.CodecZstd}, logger, metrics)
}

// newPipeline makes a log that takes mail, and a storer that does not run yet.
func newPipeline(t *testing.T, open func(*testing.T, *slog.Logger, *prometheus.Registry) (mailstore.Store, error)) *pipeline {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	server, err := natsd.Start(natsd.Options{Dir: t.TempDir(), MaxStore: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	conn, err := server.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	p := &pipeline{t: t, conn: conn, metrics: prometheus.NewRegistry()}
	real, err := open(t, logger, p.metrics)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { real.Close() })
	p.store = &faultyStore{Store: real}
	shape := stream.Shape{Shards: 1, Replicas: 1, MaxBytes: 256 << 20, Keep: time.Hour}
	deps := Deps{
		Conn: conn, Store: p.store, Workers: 2,
		Durability: func(context.Context) (stream.Durability, error) { return stream.SyncedSingle, nil },
		Logger:     logger, Metrics: p.metrics, Health: obs.NewHealth(),
	}
	if err := Prepare(t.Context(), shape, deps); err != nil {
		t.Fatal(err)
	}
	if p.service, err = New(Config{BatchRows: 64, BatchBytes: 8 << 20, Shape: shape}, deps); err != nil {
		t.Fatal(err)
	}
	p.publisher = publish.New(conn, publish.Config{}, logger, prometheus.NewRegistry())
	p.run(p.publisher.Run)
	return p
}

// run runs a service until the test ends.
func (p *pipeline) run(service func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- service(ctx) }()
	p.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			p.t.Error(err)
		}
	})
}

// publish writes a mail to the log as an ingress does.
func (p *pipeline) publish(sender string, mailboxes ...string) ulid.ULID {
	p.t.Helper()
	return p.publishRaw([]byte("Subject: from "+sender+"\r\n\r\nbody\r\n"), sender, mailboxes...)
}

func (p *pipeline) publishRaw(raw []byte, sender string, mailboxes ...string) ulid.ULID {
	p.t.Helper()
	return p.publishAs(ulid.Make(), raw, sender, mailboxes...)
}

func (p *pipeline) publishAs(id ulid.ULID, raw []byte, sender string, mailboxes ...string) ulid.ULID {
	p.t.Helper()
	sum := sha256.Sum256(raw)
	env := &mailv1.Envelope{Id: id[:], ReceivedAt: int64(id.Time()), MailFrom: sender, Size: uint64(len(raw)), Sha256: sum[:]}
	for _, mailbox := range mailboxes {
		env.Recipients = append(env.Recipients, &mailv1.Recipient{Mailbox: mailbox})
	}
	p.within("the log takes mail", func() bool { return p.publisher.Ready() == nil })
	if err := p.publisher.Publish(p.t.Context(), publish.Mail{Envelope: env, Raw: raw}); err != nil {
		p.t.Fatal(err)
	}
	return id
}

func (p *pipeline) stored(id ulid.ULID) bool {
	_, err := p.store.Mail(p.t.Context(), id)
	if err != nil && !errors.Is(err, mailstore.ErrNotFound) {
		p.t.Fatal(err)
	}
	return err == nil
}

func (p *pipeline) dead() (letters []dead.Letter) {
	err := dead.New(p.conn).List(p.t.Context(), func(d dead.Letter) error {
		letters = append(letters, d)
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return letters
}

func (p *pipeline) within(what string, ok func() bool) {
	p.t.Helper()
	deadline := time.After(60 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			p.t.Fatalf("not within a minute: %s", what)
		case <-tick.C:
		}
	}
}

// Ancestor: one row the database refuses must not lose the rest of the batch.
func TestOneRefusedMailIsADeadLetterAndItsMatesAreStored(t *testing.T) {
	p := start(t)
	p.store.refuse.Store(true)
	var mates []ulid.ULID
	var bad ulid.ULID
	for i := range 40 {
		if i == 17 {
			bad = p.publish("refused@b.example", "u@example.com")
		}
		mates = append(mates, p.publish(fmt.Sprintf("s%d@b.example", i), "u@example.com"))
	}
	p.within("its mates are stored and it is a dead letter", func() bool {
		for _, id := range mates {
			if !p.stored(id) {
				return false
			}
		}
		return len(p.dead()) == 1
	})
	letter := p.dead()[0]
	if letter.ID != bad || !strings.Contains(letter.Reason, "data too long") {
		t.Errorf("dead letter %s: %s", letter.ID, letter.Reason)
	}
	if p.stored(bad) {
		t.Error("it is stored as well")
	}
	p.store.refuse.Store(false) // the cause is removed
	if err := dead.New(p.conn).Retry(t.Context(), bad.String()); err != nil {
		t.Fatal(err)
	}
	if !p.stored(bad) || len(p.dead()) != 0 {
		t.Errorf("after the retry: stored %t, %d dead letters", p.stored(bad), len(p.dead()))
	}
}

// A mail that crashes the storer in every attempt ends as a dead letter, and its mates are stored.
func TestMailThatCrashesTheStorerIsADeadLetter(t *testing.T) {
	p := start(t)
	p.store.crash.Store(true)
	var mates []ulid.ULID
	for i := range 10 {
		mates = append(mates, p.publish(fmt.Sprintf("s%d@b.example", i), "u@example.com"))
	}
	bad := p.publish("crash@b.example", "u@example.com")
	p.within("its mates are stored and it is a dead letter", func() bool {
		for _, id := range mates {
			if !p.stored(id) {
				return false
			}
		}
		return len(p.dead()) == 1
	})
	if letter := p.dead()[0]; letter.ID != bad || !strings.Contains(letter.Reason, "index out of range") {
		t.Errorf("dead letter %s: %s", letter.ID, letter.Reason)
	}
	p.store.crash.Store(false)
	if n, err := dead.New(p.conn).RetryAll(t.Context()); n != 1 || err != nil {
		t.Fatalf("retried %d: %v", n, err)
	}
	if !p.stored(bad) {
		t.Error("not stored after the retry")
	}
}

// Ancestors: a batch that fails is neither dropped after some retries nor inserted several times, and every recipient
// gets the mail.
func TestDatabaseAwayThenEveryMailOnce(t *testing.T) {
	p := start(t)
	p.store.away.Store(true)
	var ids []ulid.ULID
	for range 20 {
		ids = append(ids, p.publish("a@b.example", "one@example.com", "two@example.com"))
	}
	tries := p.store.writes.Load()
	p.within("it has been tried at least four times more", func() bool { return p.store.writes.Load() > tries+4 })
	for _, id := range ids {
		if p.stored(id) {
			t.Fatal("stored although the database is away")
		}
	}
	p.store.away.Store(false)
	p.within("all are stored", func() bool {
		for _, id := range ids {
			if !p.stored(id) {
				return false
			}
		}
		return true
	})
	for _, mailbox := range []string{"one@example.com", "two@example.com"} {
		entries, err := p.store.Inbox(t.Context(), mailbox, ulid.ULID{}, 100)
		if err != nil || len(entries) != len(ids) {
			t.Errorf("%s has %d mails, want %d: %v", mailbox, len(entries), len(ids), err)
		}
	}
	if n := len(p.dead()); n != 0 {
		t.Errorf("%d dead letters because the database was away", n)
	}
}

// Readers hear of mail only when they can see it.
func TestStoredIsAnnouncedAfterTheCommit(t *testing.T) {
	p := start(t)
	announced := make(chan stream.StoredMail, 10)
	sub, err := stream.SubscribeStored(p.conn, func(mails []stream.StoredMail) {
		for _, m := range mails {
			if !p.stored(m.ID) {
				t.Errorf("%s was announced before it was visible", m.ID)
			}
			announced <- m
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Unsubscribe()
	id := p.publish("a@b.example", "one@example.com", "two@example.com")
	select {
	case m := <-announced:
		if m.ID != id || strings.Join(m.Mailboxes, " ") != "one@example.com two@example.com" {
			t.Errorf("announced %s for %v", m.ID, m.Mailboxes)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("never announced")
	}
}
