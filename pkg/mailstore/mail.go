package mailstore

import (
	"context"
	"io"
	"net/netip"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/digest"
	"github.com/sluice-mail/sluice/pkg/mailparse"
)

// PartSize is the size, in raw bytes before compression, at which mails are cut into rows. It never changes, so that a replay of
// the log makes the same parts. It is small enough for MariaDB's default max_allowed_packet of 16 MiB.
const PartSize = 8 << 20

// Mail is one mail to store.
type Mail struct {
	ID       ulid.ULID // from the envelope; the key of the mail
	Envelope []byte    // the protobuf as received
	Size     int64     // bytes of the raw mail
	SHA256   [32]byte  // of the raw mail

	Raw  []byte                                       // the bytes of a small mail
	Open func(context.Context) (io.ReadCloser, error) // opens a large mail, whose Raw is nil; may be called more than once
	// Verified says that the caller has checked size and SHA-256 of Raw, so that they need not be computed again.
	Verified bool

	Sender    string     // the reverse-path; empty for a bounce
	Mailboxes []string   // normalised, at least one; equal ones are stored once
	IP        netip.Addr // of the SMTP client
	Received  time.Time  // when the ingress had all of its data
	Flags     uint64     // mailv1.Flag bits and those of the parser
	Derived   Derived    // for lists
}

// Derived is what lists show of a mail's header, decoded to UTF-8. The store makes it fit for the database: text that is too
// long is cut, and what cannot be decoded is replaced. The zero value is allowed.
type Derived struct {
	HdrFrom       string // the header field From
	HdrTo         string // the header field To
	Subject       string // the header field Subject
	Charset       string // of the text, as declared
	ContentType   string // media type of the mail itself
	HasAttachment bool   // there is a part for saving
}

// DerivedOf takes over what the parser read.
func DerivedOf(s mailparse.Summary) Derived {
	return Derived{
		HdrFrom: s.From, HdrTo: s.To, Subject: s.Subject,
		Charset: s.Charset, ContentType: s.ContentType, HasAttachment: s.HasAttachment,
	}
}

// Result counts the mails of a batch.
type Result struct {
	New      int // stored by this call
	Existing int // were there already
	Expired  int // older than the retention: not stored
}

// Entry is one line of a mailbox.
type Entry struct {
	ID       ulid.ULID  // of the mail
	Mailbox  string     // in which it is listed
	Sender   string     // the reverse-path; empty for a bounce
	Size     int64      // bytes of the raw mail
	Flags    uint64     // see Mail.Flags
	IP       netip.Addr // of the SMTP client
	Received time.Time  // when the ingress had all of its data
	Stored   time.Time  // when it was stored; a replay does not change it
	Seen     bool       // a reader has opened it
	Derived
}

// FoundBytes is the size of the largest mail whose bytes Find reads along with it.
const FoundBytes = 1 << 20

// Stored is a mail in the database.
type Stored struct {
	ID       ulid.ULID
	Envelope []byte    // the protobuf as received
	Size     int64     // bytes of the raw mail
	SHA256   [32]byte  // of the raw mail
	Parts    int       // rows of PartSize raw bytes in which its bytes are kept
	StoredAt time.Time // when it was stored for the first time
	Entries  []Entry   // its line in each mailbox of the envelope
	Raw      []byte    // verified; nil unless Find has read it along
}

// Row is one mail as the audit sees it.
type Row struct {
	ID     ulid.ULID
	Size   int64    // bytes of the raw mail
	SHA256 [32]byte // of the raw mail
	Erased bool     // deleted from every mailbox, so that its bytes are gone
}

// Mbox is digest.Mailbox: the key of a mailbox, which must be normalised.
func Mbox(mailbox string) [16]byte { return digest.Mailbox([]byte(mailbox)) }

// Day is the UTC day of a mail since 1970. It comes from the id and nothing else, so that a mail stored again falls
// on the same partition.
func Day(id ulid.ULID) uint32 { return uint32(id.Time() / 86_400_000) }

// FirstID is the smallest id of a day.
func FirstID(day uint32) ulid.ULID { return idAt(int64(day) * 86_400_000) }

// IDAt is the smallest id of a point in time.
func IDAt(t time.Time) ulid.ULID { return idAt(t.UnixMilli()) }

func idAt(milliseconds int64) (id ulid.ULID) {
	// The error is for times beyond the year 10889, which no id has.
	_ = id.SetTime(min(uint64(max(0, milliseconds)), ulid.MaxTime()))
	return id
}

// LastID is the largest id there can be.
func LastID() (id ulid.ULID) {
	for i := range id {
		id[i] = 0xff
	}
	return id
}
