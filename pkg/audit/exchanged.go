package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/stream"
)

const (
	// databaseKey is the entry of the audit bucket with the identity of the database's server.
	databaseKey = "database"
	// lookBack is how much of the log is audited again when the server has changed: a failover may have lost its last commits.
	lookBack = 10 * time.Minute
)

// SameDatabase notices that another server is behind the database's address than before. It may lack what the other had
// committed, so the mail of the last minutes is audited again, and what is missing is stored again.
func (p *Periodic) SameDatabase(ctx context.Context, identity string) error {
	if identity == "" {
		return nil
	}
	l, err := openLedger(ctx, p.nc)
	if err != nil {
		return err
	}
	known, err := l.bucket.Get(ctx, databaseKey)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		_, err = l.bucket.Create(ctx, databaseKey, []byte(identity))
		return err
	case err != nil:
		return fmt.Errorf("reading which server the database was: %w", err)
	case string(known.Value()) == identity:
		return nil
	}
	p.logger.Warn("the database's address leads to another server now; the mail of the last minutes is audited again", "was", string(known.Value()), "is", identity)
	if err := p.rewind(ctx, l, time.Now().Add(-lookBack)); err != nil {
		return err
	}
	// This is the last step, so that after an interruption the audit is repeated.
	_, err = l.bucket.Update(ctx, databaseKey, []byte(identity), known.Revision())
	return err
}

// rewind makes the next audits repeat everything that the log took since then.
func (p *Periodic) rewind(ctx context.Context, l *ledger, since time.Time) error {
	states, err := p.reader.States(ctx)
	if err != nil {
		return err
	}
	for _, s := range states {
		from, err := p.reader.SequenceAt(ctx, s.Shard, since)
		if err != nil {
			return err
		}
		t := l.of(s)
		if t.Audited < from {
			continue
		}
		t.Audited = from - 1
		if err := l.save(ctx, &t); err != nil {
			return fmt.Errorf("going back in %s: %w", stream.StreamName(s.Shard), err)
		}
	}
	return nil
}
