package reading

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-mail/sluice/pkg/mailcache"
	"github.com/sluice-mail/sluice/pkg/mailparse"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/smtp"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

const (
	// inMemory is up to which size a mail is read into memory; a larger one goes to a temporary file.
	inMemory = mailstore.FoundBytes
	// maxSpools bounds those files: each is as large as its mail.
	maxSpools = 16
)

// ErrBusy means that too many large mails are being read; try again.
var ErrBusy = errors.New("too many large mails are being read at once")

// Open opens a mail of a mailbox; the caller closes it. The error is mailstore.ErrNotFound when it is not, or no longer,
// in that mailbox; ErrBusy; or one of the database.
func (r *Reader) Open(ctx context.Context, mailbox string, id ulid.ULID) (*Mail, error) {
	if r.deps.Cache != nil {
		if m := r.openCached(mailbox, id); m != nil {
			r.count("mail", true)
			return m, nil
		}
	}
	stored, err := r.find(ctx, finding{mailbox, id})
	if err != nil {
		return nil, err
	}
	return r.load(ctx, stored)
}

// find finds a mail in the database, with its line in the mailbox.
func (r *Reader) find(ctx context.Context, what finding) (mailstore.Stored, error) {
	if r.missing.has(what) {
		return mailstore.Stored{}, fmt.Errorf("looking for a mail: %w", mailstore.ErrNotFound)
	}
	r.count("mail", false)
	stored, err := r.finds.do(ctx, what, func(ctx context.Context) (mailstore.Stored, error) {
		return r.deps.Store.Find(ctx, what.mailbox, what.id)
	})
	if errors.Is(err, mailstore.ErrNotFound) {
		r.missing.add(what)
	}
	if err != nil {
		return stored, fmt.Errorf("looking for a mail: %w", err)
	}
	if len(stored.Entries) != 1 {
		return stored, fmt.Errorf("looking for a mail: it has %d rows in one mailbox", len(stored.Entries))
	}
	return stored, nil
}

// openCached opens a mail that the cache has whole, and that a page says is in the mailbox.
func (r *Reader) openCached(mailbox string, id ulid.ULID) *Mail {
	page, item := r.deps.Cache.PageAndMessage(mailbox, id)
	e, listed := page.Find(id)
	if !listed || r.graves.have(mailbox, id) {
		return nil
	}
	raw, ok := item.Raw(r.packer)
	if !ok {
		return nil
	}
	m, err := newMail(e, item.Envelope)
	if err != nil {
		return nil
	}
	m.raw, m.index = bytes.NewReader(raw), mailparse.Index(raw)
	return m
}

// load reads the bytes of a mail from the database.
func (r *Reader) load(ctx context.Context, stored mailstore.Stored) (*Mail, error) {
	m, err := newMail(stored.Entries[0], stored.Envelope)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	if stored.Size > inMemory {
		return m, r.spool(ctx, m)
	}
	raw := stored.Raw
	if raw == nil {
		var read bytes.Buffer
		read.Grow(int(stored.Size))
		if err := r.deps.Store.Raw(ctx, stored.ID, &read); err != nil {
			return nil, fmt.Errorf("reading the bytes of mail %s: %w", stored.ID, err)
		}
		raw = read.Bytes()
	}
	m.raw, m.index = bytes.NewReader(raw), mailparse.Index(raw)
	if r.deps.Cache != nil {
		r.deps.Cache.SetMessages([]mailcache.Mail{{ID: stored.ID, Envelope: stored.Envelope, Raw: raw}})
	}
	return m, nil
}

// spool reads a large mail into a file that has no name any more, so that it goes with its last user.
func (r *Reader) spool(ctx context.Context, m *Mail) error {
	select {
	case r.spools <- struct{}{}:
	default:
		return ErrBusy
	}
	m.release = func() { <-r.spools }
	file, err := os.CreateTemp("", "sluice-read-")
	if err == nil {
		m.release = func() {
			_ = file.Close() // nothing is written any more
			<-r.spools
		}
		err = os.Remove(file.Name())
	}
	if err == nil {
		err = r.deps.Store.Raw(ctx, m.Entry.ID, file)
	}
	if err == nil {
		_, err = file.Seek(0, 0)
	}
	if err == nil {
		m.raw = file
		m.index, err = mailparse.Read(file)
	}
	if err != nil {
		m.Close()
		return fmt.Errorf("reading the bytes of mail %s: %w", m.Entry.ID, err)
	}
	return nil
}

// newMail reads the envelope, of which one recipient's reader may know that recipient only.
func newMail(e mailstore.Entry, envelope []byte) (*Mail, error) {
	env := new(mailv1.Envelope)
	if err := proto.Unmarshal(envelope, env); err != nil {
		return nil, fmt.Errorf("decoding the envelope of mail %s: %w", e.ID, err)
	}
	// The others may be blind copies. Even that there are some would be told by the Received field.
	env.Recipients = []*mailv1.Recipient{{Mailbox: e.Mailbox}}
	trace := sync.OnceValue(func() []byte { return smtp.TraceHeaders(env, e.Mailbox) })
	return &Mail{Entry: e, envelope: env, trace: trace, release: func() {}}, nil
}
