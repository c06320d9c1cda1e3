package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

func storingAgainChangesNothing(t *testing.T, open Open) {
	s := open(t, Options{})
	m := NewMail(time.Now(), Text(3000), "a@example.com", "b@example.com")
	put(t, s, mailstore.Result{New: 1}, m)
	before, err := s.Mail(t.Context(), m.ID)
	if err != nil {
		t.Fatal(err)
	}
	again := m
	again.Derived.Subject = "another subject"
	put(t, s, mailstore.Result{Existing: 1}, again)
	put(t, s, mailstore.Result{Existing: 2}, m, again)
	after, err := s.Mail(t.Context(), m.ID)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("changed:\n%+v\n%+v", before, after)
	}
	if len(inbox(t, s, "a@example.com")) != 1 || len(allIDs(t, s)) != 1 || count(t, s) != 1 {
		t.Error("stored more than once")
	}
}

func replayInsertsOnce(t *testing.T, open Open) {
	s := open(t, Options{})
	var mails []mailstore.Mail
	for i := range 100 {
		mails = append(mails, NewMail(time.Now().Add(-time.Duration(i)*time.Hour), Text(100+i*97), "a@example.com", fmt.Sprintf("u%d@example.com", i)))
	}
	put(t, s, mailstore.Result{New: 60}, mails[:60]...)
	put(t, s, mailstore.Result{New: 40, Existing: 60}, mails...)
	put(t, s, mailstore.Result{Existing: 100}, mails...)
	put(t, s, mailstore.Result{})
	// One batch may bring a mail twice: the log can hold a second copy.
	m := NewMail(time.Now(), Text(500), "a@example.com")
	put(t, s, mailstore.Result{New: 1, Existing: 2}, m, mails[3], m)
	if got := len(inbox(t, s, "a@example.com")); got != 101 {
		t.Errorf("mailbox has %d mails, want 101", got)
	}
	if got := count(t, s); got != 101 {
		t.Errorf("counted %d mails, want 101", got)
	}
}

// The ancestor stored a mail for the first recipient only.
func allRecipientsStored(t *testing.T, open Open) {
	s := open(t, Options{})
	var mailboxes []string
	for i := range 100 {
		mailboxes = append(mailboxes, fmt.Sprintf("user%d@example.com", i))
	}
	m := NewMail(time.Now(), Text(1000), append(mailboxes, mailboxes[7])...)
	put(t, s, mailstore.Result{New: 1}, m)
	for _, mailbox := range mailboxes {
		entries := inbox(t, s, mailbox)
		if len(entries) != 1 || entries[0].ID != m.ID || entries[0].Mailbox != mailbox {
			t.Fatalf("%s: %+v", mailbox, entries)
		}
	}
	stored, err := s.Mail(t.Context(), m.ID)
	if err != nil {
		t.Fatal(err)
	}
	if len(stored.Entries) != 100 {
		t.Errorf("%d entries of the mail, want 100", len(stored.Entries))
	}
}

func bytesInAreBytesStored(t *testing.T, open Open) {
	every := make([]byte, 256*40)
	for i := range every {
		every[i] = byte(i)
	}
	unpackable, _ := io.ReadAll(noise(1, 20_000))
	raws := map[string][]byte{"empty": {}, "nil": nil, "tiny": []byte("\r\n"), "text": Text(20_000), "every byte": every,
		"unpackable": unpackable, "just under a part": Text(mailstore.PartSize - 1), "a part": Text(mailstore.PartSize),
		"more than a part": Text(mailstore.PartSize + 1)}
	for _, codec := range []mailstore.Codec{mailstore.CodecZstd, mailstore.CodecZlib, mailstore.CodecNone} {
		s := open(t, Options{Codec: codec})
		for name, bs := range raws {
			m := NewMail(time.Now(), bs, "a@example.com")
			put(t, s, mailstore.Result{New: 1}, m)
			if !bytes.Equal(raw(t, s, m.ID), bs) {
				t.Errorf("%v, %s: other bytes came back", codec, name)
			}
			stored, err := s.Mail(t.Context(), m.ID)
			if err != nil {
				t.Fatal(err)
			}
			if stored.Size != m.Size || stored.SHA256 != m.SHA256 || !bytes.Equal(stored.Envelope, m.Envelope) {
				t.Errorf("%v, %s: stored as %+v", codec, name, stored)
			}
			if age := time.Since(stored.StoredAt); age < -time.Minute || age > time.Minute {
				t.Errorf("stored at %v", stored.StoredAt)
			}
		}
	}
}

// Whatever a sender puts into a header or an address, its mail is stored, and so are its batch-mates.
func nothingIsRefused(t *testing.T, open Open) {
	s := open(t, Options{})
	values := map[string]string{
		"4 bytes":      "\U0001F4EC mail \U0001F600",
		"latin1":       "Gr\xfc\xdfe",
		"nul":          "a\x00b\x00",
		"controls":     "a\r\nb\tc\x1b[2J\x7f\u0085",
		"half a rune":  "abc\xf0\x9f\x93",
		"surrogate":    "\xed\xa0\x80",
		"long":         strings.Repeat("x", 100_000),
		"long 4 bytes": strings.Repeat("\U0001F4EC", 1000),
		"spaces":       "   a   ",
		"quotes":       `'"\; DROP TABLE inbox; -- %s ?`,
		"empty":        "",
	}
	var mails []mailstore.Mail
	for name, v := range values {
		m := NewMail(time.Now(), []byte(name), "a@example.com")
		m.Sender = v
		m.Mailboxes = append(m.Mailboxes, "x"+v+"@example.com")
		m.Derived = mailstore.Derived{HdrFrom: v, HdrTo: v, Subject: v, Charset: v, ContentType: v, HasAttachment: true}
		mails = append(mails, m)
	}
	mails = append(mails, strange()...)
	put(t, s, mailstore.Result{New: len(mails)}, mails...)
	if got := len(inbox(t, s, "a@example.com")); got != len(mails) {
		t.Errorf("%d mails in the mailbox, want %d", got, len(mails))
	}
	for _, e := range inbox(t, s, "a@example.com") {
		if !utf8.ValidString(e.Subject) || utf8.RuneCountInString(e.Subject) > 255 || strings.ContainsAny(e.Subject, "\x00\r\n\x1b") {
			t.Errorf("subject came back as %q", e.Subject)
		}
	}
	for _, m := range mails {
		for _, mailbox := range m.Mailboxes {
			if !slices.ContainsFunc(inbox(t, s, mailbox), func(e mailstore.Entry) bool { return e.ID == m.ID }) {
				t.Errorf("not in %.40q", mailbox)
			}
		}
	}
	long := strings.Repeat("l", 64) + "@" + strings.Repeat("d", 255)
	m := NewMail(time.Now(), []byte("long"), long)
	m.Sender = long
	m.Derived.Subject = "\U0001F4EC Käse"
	put(t, s, mailstore.Result{New: 1}, m)
	if e := inbox(t, s, long); len(e) != 1 || e[0].Mailbox != long || e[0].Sender != long || e[0].Subject != m.Derived.Subject {
		t.Errorf("an address of 320 bytes came back as %+v", e)
	}
}

// strange is mails with values at and beyond the ends of their ranges.
func strange() []mailstore.Mail {
	var mails []mailstore.Mail
	for _, change := range []func(*mailstore.Mail){
		func(m *mailstore.Mail) { m.Received = time.Time{} },
		func(m *mailstore.Mail) { m.Received = time.Date(292277026596, 1, 1, 0, 0, 0, 0, time.UTC) },
		func(m *mailstore.Mail) { m.Received = time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC) },
		func(m *mailstore.Mail) { m.Flags = 1<<64 - 1 },
		func(m *mailstore.Mail) { m.IP = netip.Addr{} },
		func(m *mailstore.Mail) { m.IP = netip.MustParseAddr("fe80::1%eth0") },
		func(m *mailstore.Mail) { m.IP = netip.MustParseAddr("::ffff:192.0.2.7") },
		func(m *mailstore.Mail) { m.Envelope = nil },
		func(m *mailstore.Mail) { m.Envelope = Text(70_000) },
		func(m *mailstore.Mail) { m.ID = ulid.ULID{} },
		func(m *mailstore.Mail) { m.ID = ulid.ULID(bytes.Repeat([]byte{0xff}, 16)) },
		func(m *mailstore.Mail) { m.Derived = mailstore.Derived{} },
	} {
		m := NewMail(time.Now(), []byte("strange"), "a@example.com")
		change(&m)
		mails = append(mails, m)
	}
	return mails
}

func putOneLeavesDerivedEmpty(t *testing.T, open Open) {
	s := open(t, Options{})
	m := NewMail(time.Now(), Text(300), "a@example.com")
	result, err := s.PutOne(t.Context(), m)
	if err != nil || result.New != 1 {
		t.Fatal(result, err)
	}
	e := inbox(t, s, "a@example.com")
	if len(e) != 1 || e[0].Derived != (mailstore.Derived{}) || e[0].Sender != m.Sender || e[0].Size != m.Size {
		t.Errorf("stored as %+v", e)
	}
}

func wrongBytesAreRefused(t *testing.T, open Open) {
	s := open(t, Options{})
	for name, change := range map[string]func(*mailstore.Mail){
		"other bytes":       func(m *mailstore.Mail) { m.Raw = bytes.ToUpper(m.Raw) },
		"too short":         func(m *mailstore.Mail) { m.Raw = m.Raw[1:] },
		"no bytes":          func(m *mailstore.Mail) { m.Raw = nil },
		"negative":          func(m *mailstore.Mail) { m.Size = -1 },
		"large, other":      func(m *mailstore.Mail) { *m = largeMail(t, 1, 9<<20, "a@example.com"); m.SHA256[0]++ },
		"large, too short":  func(m *mailstore.Mail) { *m = largeMail(t, 1, 9<<20, "a@example.com"); m.Size++ },
		"large, too long":   func(m *mailstore.Mail) { *m = largeMail(t, 1, 9<<20, "a@example.com"); m.Size-- },
		"large, ends early": func(m *mailstore.Mail) { *m = largeMail(t, 1, 9<<20, "a@example.com"); m.Size += mailstore.PartSize },
	} {
		m := NewMail(time.Now(), Text(1000), "a@example.com")
		change(&m)
		_, err := s.PutBatch(t.Context(), []mailstore.Mail{m})
		if !errors.Is(err, mailstore.ErrMismatch) || mailstore.Classify(err) != mailstore.Data {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(allIDs(t, s)) != 0 || len(inbox(t, s, "a@example.com")) != 0 || count(t, s) != 0 {
		t.Error("something was stored")
	}
}

func batchIsAllOrNothing(t *testing.T, open Open) {
	s := open(t, Options{})
	good := NewMail(time.Now().Add(-time.Hour), Text(1000), "a@example.com")
	bad := largeMail(t, 2, 20<<20, "a@example.com")
	bad.SHA256[0]++ // noticed after its last part
	if _, err := s.PutBatch(t.Context(), []mailstore.Mail{good, bad}); err == nil {
		t.Fatal("no error")
	}
	if len(allIDs(t, s)) != 0 || len(inbox(t, s, "a@example.com")) != 0 {
		t.Error("half a batch was stored")
	}
	put(t, s, mailstore.Result{New: 1}, good)
}

func failingSource(t *testing.T, open Open) {
	s := open(t, Options{})
	m := largeMail(t, 3, 20<<20, "a@example.com")
	whole, broken := m.Open, errors.New("log away")
	m.Open = func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(noise(3, 10<<20), failing{broken})), nil
	}
	_, err := s.PutBatch(t.Context(), []mailstore.Mail{m})
	if !errors.Is(err, broken) || mailstore.Classify(err) != mailstore.Retry {
		t.Errorf("broken reader: %v", err)
	}
	m.Open = func(context.Context) (io.ReadCloser, error) { return nil, broken }
	if _, err = s.PutBatch(t.Context(), []mailstore.Mail{m}); !errors.Is(err, broken) || mailstore.Classify(err) != mailstore.Retry {
		t.Errorf("no reader: %v", err)
	}
	m.Open = whole
	put(t, s, mailstore.Result{New: 1}, m)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
