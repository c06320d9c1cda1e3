package readingtest

import (
	"cmp"
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

// Memory is a database in memory.
type Memory struct {
	mu    sync.Mutex
	mails map[ulid.ULID]mailstore.Mail
	lines map[string]map[ulid.ULID]*line
}

type line struct {
	mailstore.Entry
	deleted bool
}

// NewMemory is empty.
func NewMemory() *Memory {
	return &Memory{mails: make(map[ulid.ULID]mailstore.Mail), lines: make(map[string]map[ulid.ULID]*line)}
}

func (m *Memory) PutBatch(_ context.Context, mails []mailstore.Mail) (r mailstore.Result, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, mail := range mails {
		if _, there := m.mails[mail.ID]; there {
			r.Existing++
			continue
		}
		r.New++
		m.mails[mail.ID] = mail
		for _, mailbox := range mail.Mailboxes {
			if m.lines[mailbox] == nil {
				m.lines[mailbox] = make(map[ulid.ULID]*line)
			}
			m.lines[mailbox][mail.ID] = &line{Entry: mailstore.Entry{ID: mail.ID, Mailbox: mailbox, Sender: mail.Sender, Size: mail.Size,
				Flags: mail.Flags, IP: mail.IP, Received: mail.Received, Stored: time.Now().UTC().Truncate(time.Millisecond), Derived: mail.Derived}}
		}
	}
	return r, nil
}

func (m *Memory) entries(mailbox string) (all []mailstore.Entry) {
	for _, l := range m.lines[mailbox] {
		if !l.deleted {
			all = append(all, l.Entry)
		}
	}
	slices.SortFunc(all, func(a, b mailstore.Entry) int { return b.ID.Compare(a.ID) })
	return all
}

func (m *Memory) List(_ context.Context, mailbox string, q mailstore.Query) (list []mailstore.Entry, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var none ulid.ULID
	limit := min(cmp.Or(q.Limit, mailstore.DefaultLimit), mailstore.MaxLimit)
	for _, e := range m.entries(mailbox) {
		found := strings.Contains(strings.ToLower(e.Subject+"\n"+e.Sender+"\n"+e.HdrFrom), strings.ToLower(q.Contains))
		if len(list) < limit && found && (q.Before == none || e.ID.Compare(q.Before) < 0) && (q.After == none || e.ID.Compare(q.After) > 0) {
			list = append(list, e)
		}
	}
	return list, nil
}

func (m *Memory) StoredSince(_ context.Context, mailbox string, since time.Time, limit int) ([]mailstore.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := slices.DeleteFunc(m.entries(mailbox), func(e mailstore.Entry) bool { return e.Stored.Before(since) })
	slices.SortFunc(list, func(a, b mailstore.Entry) int { return cmp.Or(a.Stored.Compare(b.Stored), a.ID.Compare(b.ID)) })
	return list[:min(limit, len(list))], nil
}

func (m *Memory) Find(_ context.Context, mailbox string, id ulid.ULID) (mailstore.Stored, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.lines[mailbox][id]
	if l == nil || l.deleted {
		return mailstore.Stored{}, mailstore.ErrNotFound
	}
	mail := m.mails[id]
	return mailstore.Stored{ID: id, Envelope: mail.Envelope, Size: mail.Size, SHA256: mail.SHA256, Parts: 1, StoredAt: l.Stored, Entries: []mailstore.Entry{l.Entry}}, nil
}

func (m *Memory) Raw(_ context.Context, id ulid.ULID, w io.Writer) error {
	m.mu.Lock()
	mail, ok := m.mails[id]
	m.mu.Unlock()
	if !ok {
		return mailstore.ErrNotFound
	}
	_, err := w.Write(mail.Raw)
	return err
}

func (m *Memory) Delete(_ context.Context, mailbox string, ids ...ulid.ULID) (gone []ulid.ULID, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		if l := m.lines[mailbox][id]; l != nil && !l.deleted {
			l.deleted = true
			gone = append(gone, id)
		}
	}
	return gone, nil
}

func (m *Memory) DeleteAll(ctx context.Context, mailbox string, upTo ulid.ULID, gone func([]ulid.ULID)) (int, error) {
	m.mu.Lock()
	var ids []ulid.ULID
	for _, e := range m.entries(mailbox) {
		if e.ID.Compare(upTo) <= 0 {
			ids = append(ids, e.ID)
		}
	}
	m.mu.Unlock()
	deleted, err := m.Delete(ctx, mailbox, ids...)
	if len(deleted) > 0 {
		gone(deleted)
	}
	return len(deleted), err
}

func (m *Memory) MarkSeen(_ context.Context, mailbox string, id ulid.ULID, seen bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.lines[mailbox][id]
	if l == nil || l.deleted {
		return mailstore.ErrNotFound
	}
	l.Seen = seen
	return nil
}

// Ping implements mailbox.Store.
func (m *Memory) Ping(context.Context) error { return nil }
