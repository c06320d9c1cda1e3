package storer

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/audit"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/sqlite"
)

// This machine's clock is three days ahead of the database's: what it takes for old is new mail.
func TestByAClockThatIsOffNoMailExpires(t *testing.T) {
	const retention = 24 * time.Hour
	p := newPipeline(t, func(t *testing.T, logger *slog.Logger, metrics *prometheus.Registry) (mailstore.Store, error) {
		return sqlite.Open(sqlite.Config{Path: filepath.Join(t.TempDir(), "sluice.db"), Retention: retention}, logger, metrics)
	})
	ctx, raw := t.Context(), []byte("Subject: x\r\n\r\nbody\r\n")
	old := func() ulid.ULID { return ulid.MustNewDefault(time.Now().Add(-72 * time.Hour)) } // two in one millisecond are two mails
	put := func() mailstore.Result {
		id := old()
		r, err := p.store.PutBatch(ctx, []mailstore.Mail{{
			ID: id, Envelope: []byte("e"), Raw: raw, Size: int64(len(raw)), SHA256: sha256.Sum256(raw), Sender: "a@b.example", Mailboxes: []string{"u@example.com"},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	check := func(ahead time.Duration) {
		p.store.clock.Store(int64(-ahead))
		if err := p.service.checkVitals(ctx); err != nil {
			t.Fatal(err)
		}
	}
	p.publishAs(old(), raw, "a@b.example", "u@example.com")
	p.service.auditor = audit.NewPeriodic(p.conn, p.store, retention, func(context.Context, []audit.Place) error { return errAway }, p.service.deps.Logger, prometheus.NewRegistry())
	purge := func() error { // of that mail, which the database does not have
		_, err := p.service.auditor.BeforePurge(ctx, "MAIL_0", 1, 1)
		return err
	}
	for _, off := range []time.Duration{72 * time.Hour, -2 * time.Minute} {
		check(off)
		if err := purge(); err == nil {
			t.Errorf("%v ahead: a mail leaves the log as expired", off)
		}
		if r := put(); r.New != 1 {
			t.Errorf("%v ahead: %+v, want the mail stored", off, r)
		}
		if err := p.store.Maintain(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.rows(); n != 2 {
		t.Errorf("%d of 2 mails are left", n)
	}
	check(30 * time.Second)
	if r := put(); r.Expired != 1 {
		t.Errorf("with a right clock: %+v, want the mail expired", r)
	}
	if err := purge(); err != nil {
		t.Errorf("with a right clock: %v, want the mail to leave the log as expired", err)
	}
	p.store.away.Store(true)
	if err := p.service.checkVitals(ctx); err == nil {
		t.Error("a database that is away has told its time")
	}
	p.store.away.Store(false)
	if r := put(); r.New != 1 {
		t.Errorf("by a clock that could not be compared: %+v, want the mail stored", r)
	}
	check(30 * time.Second)
	if err := p.store.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	if n := p.rows(); n != 0 {
		t.Errorf("%d mails past their retention are left", n)
	}
}

// A failover to a server that lacks the last commits: the address is the same, the server another.
func TestAnotherDatabaseServerHasTheLastMinutesStoredAgain(t *testing.T) {
	p := start(t)
	for range 10 {
		p.publish("a@b.example", "u@example.com")
	}
	p.settled()
	auditor, ctx := p.service.auditor, t.Context()
	audited := func() (n float64) {
		families, err := p.metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "sluice_audit_mails_total" {
				n = f.GetMetric()[0].GetCounter().GetValue()
			}
		}
		return n
	}
	for _, step := range []struct {
		server string
		want   float64
	}{{"a", 10}, {"a", 0}, {"b", 10}} {
		before := audited()
		if err := auditor.SameDatabase(ctx, step.server); err != nil {
			t.Fatal(err)
		}
		if err := auditor.Round(ctx); err != nil {
			t.Fatal(err)
		}
		if n := audited() - before; n != step.want {
			t.Errorf("server %s: %v mails are audited, want %v", step.server, n, step.want)
		}
	}
}
