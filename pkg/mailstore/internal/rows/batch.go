// Package rows converts mails to rows of both databases and back. Rows are sorted by key, bodies are compressed, text is cleaned,
// and size and SHA-256 are verified when a mail is written and when it is read.
package rows

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// Batch is what one transaction writes. Both lists are in the order of their primary key, so that transactions which
// meet on the same rows lock them in the same order: measured, shuffled rows deadlock in 11 to 28 % of batches.
type Batch struct {
	Mails  []Mail
	Inbox  []Inbox
	Result mailstore.Result // what is known before the database is asked

	rooms rooms
}

// Mail is one mail: its row in mail, and that in mail_raw when it is a small one.
type Mail struct {
	mailstore.Mail
	Day   uint32
	Parts int
	Refs  int             // mailboxes that list it
	Codec mailstore.Codec // of a small mail
	Body  []byte
}

// Large says that the mail is read and written part by part.
func (m *Mail) Large() bool { return m.Open != nil }

// NotNil is b as a database has to see it: nil would be NULL.
func NotNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Inbox is a row of the table inbox.
type Inbox struct {
	mailstore.Entry
	Mbox [16]byte
	Day  uint32
}

// Prepare makes a batch: each mail once, mails of days before oldest left out, small ones packed. Release must follow.
func Prepare(mails []mailstore.Mail, oldest uint32, p *mailstore.Packer) (*Batch, error) {
	b := &Batch{Mails: make([]Mail, 0, len(mails)), Inbox: make([]Inbox, 0, len(mails)), rooms: rooms{packer: p}}
	for i := range mails {
		m := Mail{Mail: mails[i], Day: mailstore.Day(mails[i].ID)}
		if m.Day < oldest {
			b.Result.Expired++
			continue
		}
		if err := m.check(); err != nil {
			return nil, &mailstore.Error{Class: mailstore.Data, Op: "storing " + m.ID.String(), Err: err}
		}
		b.Mails = append(b.Mails, m)
	}
	slices.SortStableFunc(b.Mails, func(x, y Mail) int { return x.ID.Compare(y.ID) })
	all := len(b.Mails)
	b.Mails = slices.CompactFunc(b.Mails, func(x, y Mail) bool { return x.ID == y.ID })
	b.Result.Existing += all - len(b.Mails)
	for i := range b.Mails {
		m := &b.Mails[i]
		if !m.Large() {
			m.Body, m.Codec = b.rooms.pack(m.Raw)
		}
		b.addInbox(m)
		m.Refs = max(1, m.Refs) // a mail without recipients, which Sluice's ingress never sends, must not count as deleted
	}
	b.sortInbox()
	return b, nil
}

// check verifies the bytes of a small mail, and decides how many parts the mail has. A large one is verified on the way.
func (m *Mail) check() error {
	m.Parts = max(1, int((m.Size+mailstore.PartSize-1)/mailstore.PartSize))
	if m.Size < 0 {
		return fmt.Errorf("%w: size %d", mailstore.ErrMismatch, m.Size)
	}
	if m.Raw == nil && m.Open != nil {
		return nil
	}
	if int64(len(m.Raw)) != m.Size {
		return fmt.Errorf("%w: %d bytes, not %d", mailstore.ErrMismatch, len(m.Raw), m.Size)
	}
	if !m.Verified && sha256.Sum256(m.Raw) != m.SHA256 {
		return fmt.Errorf("%w: SHA-256", mailstore.ErrMismatch)
	}
	m.Open = nil
	if m.Parts > 1 {
		m.Open = openBytes(m.Raw)
	}
	return nil
}

// addInbox adds a row for each mailbox of the mail.
func (b *Batch) addInbox(m *Mail) {
	entry := EntryOf(&m.Mail)
	for i, mailbox := range m.Mailboxes {
		if slices.Contains(m.Mailboxes[:i], mailbox) {
			continue
		}
		row := Inbox{Entry: entry, Mbox: mailstore.Mbox(mailbox), Day: m.Day}
		row.Mailbox = Bytes(mailbox, 320)
		b.Inbox = append(b.Inbox, row)
		m.Refs++
	}
}

// EntryOf is the line of a mail in a mailbox, with every column cleaned and cut to what the tables take.
func EntryOf(m *mailstore.Mail) mailstore.Entry {
	d := m.Derived
	return mailstore.Entry{
		ID:       m.ID,
		Sender:   Bytes(m.Sender, 320),
		Size:     m.Size,
		Flags:    m.Flags,
		IP:       m.IP.Unmap().WithZone(""),
		Received: received(m.Received, m.ID),
		Derived: mailstore.Derived{
			HdrFrom:       Text(d.HdrFrom, 255),
			HdrTo:         Text(d.HdrTo, 255),
			Subject:       Text(d.Subject, 255),
			Charset:       Text(d.Charset, 32),
			ContentType:   Text(d.ContentType, 128),
			HasAttachment: d.HasAttachment,
		},
	}
}

// received is t in milliseconds, or the time in the id when a DATETIME cannot hold t.
func received(t time.Time, id ulid.ULID) time.Time {
	if year := t.UTC().Year(); year < 1970 || year > 9999 {
		t = id.Timestamp()
	}
	if t.UTC().Year() > 9999 {
		t = time.UnixMilli(0)
	}
	return t.UTC().Truncate(time.Millisecond)
}

// Addr is the column ip read back.
func Addr(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Oldest is the first day that a retention keeps, 0 when it keeps all. Retention rounds up to days: a day is dropped
// when every mail of it is too old.
func Oldest(retention time.Duration, now time.Time) uint32 {
	if retention <= 0 {
		return 0
	}
	return uint32(max(0, now.Add(-retention).UnixMilli()) / 86_400_000)
}

// InboxOf is the inbox rows of mails, in the order of their key.
func InboxOf(mails []mailstore.Mail) []Inbox {
	var b Batch
	for i := range mails {
		b.addInbox(&Mail{Mail: mails[i], Day: mailstore.Day(mails[i].ID)})
	}
	b.sortInbox()
	return b.Inbox
}

func (b *Batch) sortInbox() {
	slices.SortFunc(b.Inbox, func(x, y Inbox) int {
		return cmp.Or(bytes.Compare(x.Mbox[:], y.Mbox[:]), x.ID.Compare(y.ID))
	})
}

// Mboxes is the keys of the mailboxes that an envelope names. An envelope that cannot be read names none.
func Mboxes(envelope []byte) [][16]byte {
	var e mailv1.Envelope
	if proto.Unmarshal(envelope, &e) != nil {
		return nil
	}
	var keys [][16]byte
	for _, r := range e.GetRecipients() {
		if key := mailstore.Mbox(r.GetMailbox()); !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}
