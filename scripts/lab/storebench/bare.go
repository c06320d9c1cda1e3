package main

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

// bare is what anybody would write who only wants rows in the table: finished arguments, two statements, a commit.
type bare struct {
	db   *sql.DB
	rows map[ulid.ULID]finished
}

type finished struct{ mail, raw, inbox []any }

func newBare(dsn string, o options, kind string, mails []mailstore.Mail) (*bare, error) {
	options := "?maxAllowedPacket=0"
	if kind == "bare, binary" {
		options += "&charset=binary&collation=binary"
	}
	db, err := sql.Open("mysql", dsn+options)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(o.conns)
	db.SetMaxIdleConns(o.conns)
	codec := mailstore.CodecZstd
	if kind == "bare, unpacked" {
		codec = mailstore.CodecNone
	}
	packer, err := mailstore.NewPacker(codec)
	if err != nil {
		return nil, err
	}
	defer packer.Close()
	b := &bare{db: db, rows: map[ulid.ULID]finished{}}
	now := time.Now().UTC()
	for _, m := range mails {
		body, codec := packer.Pack(m.Raw)
		mbox, day := mailstore.Mbox(m.Mailboxes[0]), mailstore.Day(m.ID)
		b.rows[m.ID] = finished{
			mail: []any{day, m.ID[:], m.Size, m.SHA256[:], 1, 1, now, m.Envelope},
			raw:  []any{day, m.ID[:], 0, uint8(codec), body},
			inbox: []any{mbox[:], m.ID[:], day, 0, m.Mailboxes[0], m.Sender, m.Derived.HdrFrom, m.Derived.HdrTo, m.Derived.Subject, m.Derived.Charset,
				m.Derived.ContentType, false, m.Size, m.Flags, m.IP.AsSlice(), m.Received.UTC(), now},
		}
	}
	return b, nil
}

func (b *bare) put(ctx context.Context, mails []mailstore.Mail) error {
	tx, err := b.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var mail, raw, inbox []any
	for _, m := range mails {
		row := b.rows[m.ID]
		mail, raw, inbox = append(mail, row.mail...), append(raw, row.raw...), append(inbox, row.inbox...)
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO mail VALUES "+marks(8, len(mails)), mail...); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO mail_raw VALUES "+marks(5, len(mails)), raw...); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO inbox (mbox, id, day, state, rcpt, sender, hdr_from, hdr_to, subject, charset, content_type, has_attach, size, flags, ip, received, stored) VALUES "+
		marks(17, len(mails)), inbox...); err != nil {
		return err
	}
	return tx.Commit()
}

// marks is (?,?,...),(?,?,...) for rows of so many columns.
func marks(columns, rows int) string {
	row := "(?" + strings.Repeat(",?", columns-1) + ")"
	return row + strings.Repeat(","+row, rows-1)
}
