package storer

import (
	"database/sql"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/audit"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/sqlite"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/dead"
	"github.com/sluice-mail/sluice/pkg/stream/tombstone"
)

// settled waits until the storer owes nothing on shard 0, and returns the last sequence.
func (p *pipeline) settled() uint64 {
	p.t.Helper()
	reader := stream.NewReader(p.conn)
	var last uint64
	p.within("everything is settled", func() bool {
		state, err := reader.State(p.t.Context(), 0)
		if err != nil {
			p.t.Fatal(err)
		}
		floor, err := reader.SettledUpTo(p.t.Context(), 0, stream.Storer)
		last = state.Last
		return err == nil && last > 0 && floor >= last
	})
	return last
}

// leave has everything up to last audited before its purge.
func (p *pipeline) leave(last uint64) error {
	for from := uint64(1); from <= last; {
		upTo, err := p.service.auditor.BeforePurge(p.t.Context(), "MAIL_0", from, last)
		if err != nil {
			return err
		}
		from = upTo + 1
	}
	return nil
}

// A database that lost what it had committed, by a failover or a restored dump, is whole again without an operator, and the
// log keeps the mail until it is.
func TestMailThatTheDatabaseLostIsStoredAgain(t *testing.T) {
	p := start(t)
	for range 20 {
		p.publish("a@b.example", "u@example.com")
	}
	last := p.settled()
	if err := p.service.auditor.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.store.DropBefore(t.Context(), today()+2); err != nil {
		t.Fatal(err)
	}
	if n := p.rows(); n != 0 {
		t.Fatalf("%d mails are left in the database", n)
	}
	if err := p.leave(last); err != nil {
		t.Error(err)
	}
	if n := p.rows(); n != 20 {
		t.Errorf("%d of 20 mails are in the database again", n)
	}
}

// A dump that is restored on the same server is noticed by the mail that was there and is not any more, and healed at once: not
// only when it is about to leave the log.
func TestADatabaseThatWentBackInTimeIsWholeAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sluice.db")
	p := newPipeline(t, func(_ *testing.T, logger *slog.Logger, metrics *prometheus.Registry) (mailstore.Store, error) {
		return sqlite.Open(sqlite.Config{Path: file, Codec: mailstore.CodecZstd}, logger, metrics)
	})
	p.run(p.service.Run)
	var newer []ulid.ULID
	for round := range 8 {
		for n := range 10 {
			id := p.publish("a@b.example", "u@example.com")
			if round >= 5 || round == 3 && n == 0 { // mail is not committed in the order of the log
				newer = append(newer, id)
			}
		}
		p.settled()
		if err := p.service.auditor.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	p.forget(file, newer...)
	if n := p.rows(); n != 49 {
		t.Fatalf("%d mails are left in the database, want 49", n)
	}
	if err := p.service.auditor.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := p.rows(); n != 80 {
		t.Errorf("%d of 80 mails are in the database again", n)
	}
}

// forget makes the database what it was before it had these mails.
func (p *pipeline) forget(file string, ids ...ulid.ULID) {
	p.t.Helper()
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(10000)")
	if err != nil {
		p.t.Fatal(err)
	}
	defer db.Close()
	for _, id := range ids {
		for _, table := range []string{"mail", "mail_raw", "inbox"} {
			if _, err := db.Exec("DELETE FROM "+table+" WHERE id=?", id[:]); err != nil {
				p.t.Fatal(err)
			}
		}
	}
}

func today() uint32 { return uint32(time.Now().UnixMilli() / 86_400_000) }

// rows counts the mails in the database.
func (p *pipeline) rows() (n int) {
	p.t.Helper()
	last := mailstore.FirstID(today() + 2)
	err := p.store.IDs(p.t.Context(), mailstore.FirstID(0), last, func(mailstore.Row) error { n++; return nil })
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// A dead letter that was dropped is a verdict: it does not hold retention up for good.
func TestADroppedDeadLetterHoldsNothingUp(t *testing.T) {
	p := start(t)
	p.store.refuse.Store(true)
	id := p.publish("refused@b.example", "u@example.com")
	p.publish("a@b.example", "u@example.com")
	last := p.settled()
	letters := dead.New(p.conn)
	if err := letters.Drop(t.Context(), id.String(), "me@here", "spam"); err != nil {
		t.Fatal(err)
	}
	if err := p.leave(last); err != nil {
		t.Error(err)
	}
	if stone, err := tombstone.New(p.conn).Find(t.Context(), id); err != nil || stone.What != tombstone.Dropped || stone.Who != "me@here" || stone.Why != "spam" {
		t.Errorf("the tombstone says %+v (%v)", stone, err)
	}
}

// The stream was removed and made again: its sequences begin at 1, and the tally of the old one says nothing about it.
func TestAStreamThatWasMadeAgainIsAnAlarmAndStopsThePurge(t *testing.T) {
	p := newPipeline(t, openSQLite)
	for range 5 {
		p.publish("a@b.example", "u@example.com")
	}
	ctx := t.Context()
	if err := p.service.auditor.Round(ctx); err != nil {
		t.Fatal(err)
	}
	js := stream.JetStream(p.conn)
	if err := js.DeleteStream(ctx, "MAIL_0"); err != nil {
		t.Fatal(err)
	}
	if err := Prepare(ctx, p.service.cfg.Shape, p.service.deps); err != nil {
		t.Fatal(err)
	}
	p.run(p.service.Run)
	p.publish("a@b.example", "u@example.com")
	last := p.settled()
	purge := func() error { return p.leave(last) }
	err := purge()
	if err == nil || !strings.Contains(err.Error(), "MAIL_0:1-5") || !strings.Contains(err.Error(), "created again") {
		t.Fatalf("the purge is told %v", err)
	}
	why := tombstone.Stone{What: tombstone.Accepted, When: time.Now()}
	if _, err := audit.Accept(ctx, p.conn, stream.Bounds{From: 7, To: 9}, why); !errors.Is(err, audit.ErrNothingLost) {
		t.Errorf("accepting what is not lost: %v", err)
	}
	if n, err := audit.Accept(ctx, p.conn, stream.Bounds{From: 1, To: 5}, why); err != nil || n != 5 {
		t.Fatalf("accepted %d messages, %v", n, err)
	}
	if err := purge(); err != nil {
		t.Errorf("the loss is accepted, and the purge is told %v", err)
	}
}
