package sqlstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"net/netip"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/internal/rows"
)

// Probe implements mailstore.Writer. It deletes the rows in the transaction that inserts them, and still has something
// to commit: a full disk or the replication may refuse only there.
func (s *Store) Probe(ctx context.Context) error {
	start := time.Now()
	batch, err := rows.Prepare([]mailstore.Mail{probe()}, 0, s.dialect.Packer)
	if err == nil {
		defer batch.Release()
		_, err = s.write(ctx, batch, func(tx *sql.Tx) error { return s.remove(ctx, tx, batch) })
	}
	return s.dialect.Meter.Done("probe", start, err)
}

// probe is an ordinary mail: of today, with something in every column.
func probe() mailstore.Mail {
	const mailbox = "probe@sluice.invalid" // RFC 2606 section 2: nobody's
	raw := bytes.Repeat([]byte("A mail that shows whether mail can be stored, and is taken away at once.\r\n"), 100)
	id := ulid.Make()
	return mailstore.Mail{
		ID: id, Envelope: []byte("probe"), Raw: raw, Size: int64(len(raw)), SHA256: sha256.Sum256(raw),
		Sender: mailbox, Mailboxes: []string{mailbox}, IP: netip.IPv6Loopback(), Received: id.Timestamp(), Flags: 1,
		Derived: mailstore.Derived{HdrFrom: mailbox, HdrTo: mailbox, Subject: "Probe", Charset: "us-ascii", ContentType: "text/plain"},
	}
}

// remove takes away what Insert wrote of a batch of small mails.
func (s *Store) remove(ctx context.Context, tx *sql.Tx, batch *rows.Batch) error {
	for i := range batch.Inbox {
		e := &batch.Inbox[i]
		if _, err := tx.ExecContext(ctx, "DELETE FROM inbox WHERE "+s.dialect.Key+" AND mbox=?", append(s.dialect.KeyArgs(e.ID), e.Mbox[:])...); err != nil {
			return err
		}
	}
	for i := range batch.Mails {
		m := &batch.Mails[i]
		for _, table := range []string{"mail_raw", "mail"} {
			if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE "+s.dialect.Key, s.dialect.KeyArgs(m.ID)...); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, s.dialect.Uncount, m.Day); err != nil {
			return err
		}
	}
	return nil
}
