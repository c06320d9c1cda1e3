package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// NewMail is a mail for the given mailboxes, as the storer would make it.
func NewMail(at time.Time, raw []byte, mailboxes ...string) mailstore.Mail {
	id := ulid.MustNewDefault(at)
	m := mailstore.Mail{ID: id, Size: int64(len(raw)), SHA256: sha256.Sum256(raw), Raw: raw, Sender: "sender@example.net",
		Mailboxes: mailboxes, IP: netip.MustParseAddr("192.0.2.1"), Received: id.Timestamp(),
		Derived: mailstore.Derived{HdrFrom: "Sender <sender@example.net>", HdrTo: "you", Subject: "A mail", Charset: "utf-8", ContentType: "text/plain"}}
	m.Envelope = Envelope(m)
	return m
}

// Envelope is the protobuf for a mail.
func Envelope(m mailstore.Mail) []byte {
	e := &mailv1.Envelope{Id: m.ID[:], Size: uint64(m.Size), Sha256: m.SHA256[:], MailFrom: m.Sender}
	for _, mailbox := range m.Mailboxes {
		e.Recipients = append(e.Recipients, &mailv1.Recipient{Mailbox: mailbox})
	}
	out, err := proto.Marshal(e)
	if err != nil {
		panic(err) // only for strings that are not UTF-8
	}
	return out
}

// Text is n bytes that look like mail: packing them pays.
func Text(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "Line %d of a mail whose text does not matter much.\r\n", i)
	}
	return b.Bytes()[:n]
}

// noise is n bytes that nothing can pack, always the same for a seed.
func noise(seed byte, n int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{seed}), n)
}

// largeMail is a mail that is read, not held.
func largeMail(t *testing.T, seed byte, size int64, mailboxes ...string) mailstore.Mail {
	t.Helper()
	m := NewMail(time.Now(), nil, mailboxes...)
	hash := sha256.New()
	if _, err := io.Copy(hash, noise(seed, size)); err != nil {
		t.Fatal(err)
	}
	m.Size, m.SHA256 = size, [32]byte(hash.Sum(nil))
	m.Open = func(context.Context) (io.ReadCloser, error) { return io.NopCloser(noise(seed, size)), nil }
	m.Envelope = Envelope(m)
	return m
}

func put(t *testing.T, s mailstore.Store, want mailstore.Result, mails ...mailstore.Mail) {
	t.Helper()
	got, err := s.PutBatch(t.Context(), mails)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Fatalf("result: got %+v, want %+v", got, want)
	}
}

func raw(t *testing.T, s mailstore.Store, id ulid.ULID) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Raw(t.Context(), id, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func inbox(t *testing.T, s mailstore.Store, mailbox string) []mailstore.Entry {
	t.Helper()
	entries, err := s.Inbox(t.Context(), mailbox, ulid.ULID{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func allIDs(t *testing.T, s mailstore.Store) []ulid.ULID {
	t.Helper()
	return idsBetween(t, s, ulid.ULID{}, ulid.ULID(bytes.Repeat([]byte{0xff}, 16)))
}

func idsBetween(t *testing.T, s mailstore.Store, from, to ulid.ULID) []ulid.ULID {
	t.Helper()
	var ids []ulid.ULID
	err := s.IDs(t.Context(), from, to, func(r mailstore.Row) error {
		ids = append(ids, r.ID)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(ids, ulid.ULID.Compare) {
		t.Fatal("ids are not in order")
	}
	return ids
}

func count(t *testing.T, s mailstore.Store) int64 {
	t.Helper()
	n, err := s.Count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}
