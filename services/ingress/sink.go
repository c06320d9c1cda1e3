package ingress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/smtp"
	"github.com/sluice-mail/sluice/pkg/smtpd"
	"github.com/sluice-mail/sluice/pkg/smtpd/limits"
	"github.com/sluice-mail/sluice/pkg/smtpd/spool"
	"github.com/sluice-mail/sluice/pkg/stream/publish"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// publisher is the part of publish.Publisher that a sink needs.
type publisher interface {
	Ready() error
	Publish(ctx context.Context, m publish.Mail) error
}

// sink spools the bytes of a mail and publishes the mail when it is complete.
type sink struct {
	log    publisher
	pool   *spool.Pool
	ids    io.Reader // entropy of the ids
	now    func() time.Time
	logger *slog.Logger
}

// Ready refuses a mail before its bytes are sent, if it is known that it could not be stored.
func (s *sink) Ready() error {
	if err := s.pool.Full(); err != nil {
		return reply(err, "")
	}
	if err := s.log.Ready(); err != nil {
		return reply(err, "")
	}
	return nil
}

// Begin opens the spool for one mail.
func (s *sink) Begin(tx *smtpd.Transaction) (smtpd.Delivery, error) {
	shed := func() { tx.Drop(reply(spool.ErrShed, "")) }
	buffer, err := s.pool.Begin(limits.NetworkOf(tx.Peer.Client.Addr()), shed)
	if err != nil {
		return nil, reply(err, "")
	}
	return &delivery{sink: s, env: tx.Envelope, body: buffer}, nil
}

// delivery is one mail on its way into the log.
type delivery struct {
	sink *sink
	env  *mailv1.Envelope
	body *spool.Buffer
}

func (d *delivery) Write(p []byte) error {
	if _, err := d.body.Write(p); err != nil {
		return reply(err, "")
	}
	return nil
}

// Commit returns when the log has the whole mail on disk. The id is created here, at the end of the data, so that
// ids rise with the time of acceptance, and a mail that is not received completely has none.
func (d *delivery) Commit(ctx context.Context, flags uint64) (string, error) {
	defer d.close()
	if err := d.body.Flush(); err != nil {
		return "", reply(err, "")
	}
	now := d.sink.now()
	id, err := ulid.New(ulid.Timestamp(now), d.sink.ids)
	if err != nil {
		return "", fmt.Errorf("minting an id: %w", err)
	}
	sum := d.body.SHA256()
	d.env.Id = id[:]
	d.env.ReceivedAt = now.UnixMilli()
	d.env.Size = uint64(d.body.Size())
	d.env.Sha256 = sum[:]
	d.env.Flags = flags
	mail := publish.Mail{Envelope: d.env}
	if raw, ok := d.body.Bytes(); ok {
		mail.Raw = raw
	} else {
		mail.Body = d.body
	}
	if err := d.sink.log.Publish(ctx, mail); err != nil {
		return "", reply(err, id.String())
	}
	return id.String(), nil
}

func (d *delivery) Abort() { d.close() }

func (d *delivery) close() {
	if err := d.body.Close(); err != nil {
		d.sink.logger.Error("closing a spool file", "error", err)
	}
}

// reply turns the error that prevented a mail from being accepted into the reply for its sender: always a 4xx, because the fault is
// ours and the sender still has the mail. id is set once the mail may be in the log.
func reply(err error, id string) *smtp.Reply {
	switch {
	case errors.Is(err, publish.ErrFull):
		return &smtp.Reply{Code: 452, Enhanced: "4.3.1", Text: "The mail log is full, try again later", Reason: "log_full"}
	case errors.Is(err, spool.ErrFull):
		return &smtp.Reply{Code: 452, Enhanced: "4.3.1", Text: "Insufficient system storage, try again later", Reason: "spool_full"}
	case errors.Is(err, spool.ErrShed):
		return &smtp.Reply{Code: 421, Enhanced: "4.3.1", Text: "Out of room, and this upload makes too little progress; try again later", Reason: "shed"}
	case errors.Is(err, publish.ErrBusy):
		return &smtp.Reply{Code: 451, Enhanced: "4.3.2", Text: "The mail log is busy, try again later", Reason: "log_busy"}
	case errors.Is(err, publish.ErrUnconfirmed):
		return &smtp.Reply{Code: 451, Enhanced: "4.3.0", Text: "Mail not confirmed, id " + id + ", try again later", Reason: "unconfirmed"}
	case errors.Is(err, publish.ErrClock):
		return &smtp.Reply{Code: 451, Enhanced: "4.3.0", Text: "The clock of this server is off, try again later", Reason: "clock"}
	default:
		return &smtp.Reply{Code: 451, Enhanced: "4.3.0", Text: "The mail log is unavailable, try again later", Reason: "log_unavailable"}
	}
}
