// Package readingtest makes databases and mails for tests of code that reads mail.
package readingtest

import (
	"context"
	"crypto/sha256"
	"net/netip"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-mail/sluice/pkg/mailparse"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// Mail is a mail for some mailboxes, received now, as the storer would store it.
func Mail(t testing.TB, raw string, mailboxes ...string) mailstore.Mail {
	t.Helper()
	id, now := ulid.Make(), time.Now().UTC().Truncate(time.Millisecond)
	sum := sha256.Sum256([]byte(raw))
	env := &mailv1.Envelope{
		Id: id[:], ReceivedAt: now.UnixMilli(), Ingress: "mx.example.org", Helo: "client.example.org", Protocol: "ESMTP",
		Client: &mailv1.Endpoint{Ip: []byte{192, 0, 2, 1}, Port: 4321}, MailFrom: "sender@example.org",
		Size: uint64(len(raw)), Sha256: sum[:],
	}
	for _, mailbox := range mailboxes {
		env.Recipients = append(env.Recipients, &mailv1.Recipient{Mailbox: mailbox})
	}
	packed, err := proto.Marshal(env)
	if err != nil {
		t.Fatal(err)
	}
	return mailstore.Mail{
		ID: id, Envelope: packed, Size: int64(len(raw)), SHA256: sum, Raw: []byte(raw), Verified: true,
		Sender: env.GetMailFrom(), Mailboxes: mailboxes, IP: netip.MustParseAddr("192.0.2.1"), Received: now,
		Derived: mailstore.DerivedOf(mailparse.Summarise([]byte(raw))),
	}
}

// Writer stores mail.
type Writer interface {
	PutBatch(ctx context.Context, mails []mailstore.Mail) (mailstore.Result, error)
}

// Put stores a mail and returns its id.
func Put(t testing.TB, store Writer, raw string, mailboxes ...string) ulid.ULID {
	t.Helper()
	m := Mail(t, raw, mailboxes...)
	if _, err := store.PutBatch(t.Context(), []mailstore.Mail{m}); err != nil {
		t.Fatal(err)
	}
	return m.ID
}
