package reading_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailcache"
	"github.com/sluice-mail/sluice/pkg/mailcache/memcachedtest"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/services/internal/reading"
	"github.com/sluice-mail/sluice/services/internal/reading/readingtest"
)

// idsAnswer makes an answer of ids, which idsIn reads.
func idsAnswer(entries []mailstore.Entry) *reading.Answer {
	a := new(reading.Answer)
	for _, e := range entries {
		a.Body = append(a.Body, e.ID[:]...)
	}
	return a
}

func idsIn(body []byte) (ids []ulid.ULID) {
	for id := range slices.Chunk(body, len(ulid.ULID{})) {
		ids = append(ids, ulid.ULID(id))
	}
	return ids
}

// composer counts how often an answer is made.
type composer struct{ lists, mails int }

func (c *composer) list(entries []mailstore.Entry) *reading.Answer {
	c.lists++
	return idsAnswer(entries)
}

func (c *composer) mail(m *reading.Mail) (*reading.Answer, error) {
	c.mails++
	body, err := io.ReadAll(m.Delivered())
	if m.Entry.Seen {
		body = append(body, "seen"...)
	}
	return &reading.Answer{Body: body}, err
}

// TestAnswersAreMadeOnce: as long as nothing changes, and with the cache away, too.
func TestAnswersAreMadeOnce(t *testing.T) {
	cache, server := newCache(t)
	store := readingtest.Store(t)
	r := newReader(t, store, cache)
	id := readingtest.Put(t, store, "Subject: one\r\n\r\ntext\r\n", ann, ben)
	var made composer
	read := func(mailbox, mark string, lists, mails int) {
		t.Helper()
		for range 3 {
			list, err := r.ListAnswer(t.Context(), mailbox, mailstore.Query{}, made.list)
			if err != nil || !slices.Equal(idsIn(list.Body), []ulid.ULID{id}) {
				t.Fatalf("%+v %v", list, err)
			}
			mail, err := r.MailAnswer(t.Context(), mailbox, id, made.mail)
			if err != nil || !strings.Contains(string(mail.Body), "Delivered-To: "+mailbox) || !strings.HasSuffix(string(mail.Body), "text\r\n"+mark) {
				t.Fatalf("%+v %v", mail, err)
			}
		}
		if made.lists != lists || made.mails != mails {
			t.Errorf("%d lists and %d mails were made, want %d and %d", made.lists, made.mails, lists, mails)
		}
	}
	read(ann, "", 1, 1)
	read(ben, "", 2, 2)
	if err := r.MarkSeen(t.Context(), ann, id, true); err != nil {
		t.Fatal(err)
	}
	read(ann, "seen", 3, 3)
	read(ben, "", 3, 3)
	server.Kill()
	made.lists = 0
	read(ann, "seen", 0, 3) // no pages; but the database says the same
	server.Restart()
	for _, q := range []mailstore.Query{{Limit: 1}, {Limit: 2}} { // another limit is another answer
		made.lists = 0
		if _, err := r.ListAnswer(t.Context(), ann, q, made.list); err != nil || made.lists != 1 {
			t.Errorf("limit %d: %d lists were made, %v", q.Limit, made.lists, err)
		}
	}
}

// TestNoAnswerOfADeletedMail: not from the process that deleted it, nor from others that have shown it before; with the cache
// there, away at the deletion, or empty.
func TestNoAnswerOfADeletedMail(t *testing.T) {
	store := readingtest.Store(t)
	var made composer
	for name, around := range map[string]struct{ before, after func(*memcachedtest.Server) }{
		"cache there": {func(*memcachedtest.Server) {}, func(*memcachedtest.Server) {}},
		"cache away":  {(*memcachedtest.Server).Kill, (*memcachedtest.Server).Restart},
		"cache hangs": {(*memcachedtest.Server).Stop, (*memcachedtest.Server).Continue},
	} {
		// A cache of its own: a client remembers for a while that its server could not be reached.
		cache, server := newCache(t)
		here, there := newReader(t, store, cache), newReader(t, store, clientOf(t, server))
		id := readingtest.Put(t, store, "Subject: one\r\n\r\n", ann, ben)
		cache.DeletePages([]string{ann, ben})
		shown := func(r *reading.Reader, mailbox string) bool {
			list, err := r.ListAnswer(t.Context(), mailbox, mailstore.Query{Limit: mailcache.PageEntries}, made.list)
			if err != nil {
				t.Fatal(err)
			}
			_, err = r.MailAnswer(t.Context(), mailbox, id, made.mail)
			if err != nil && !errors.Is(err, mailstore.ErrNotFound) {
				t.Fatal(err)
			}
			return err == nil || slices.Contains(idsIn(list.Body), id)
		}
		for _, r := range []*reading.Reader{here, there, here, there} {
			if !shown(r, ann) || !shown(r, ben) {
				t.Fatalf("%s: the mail is not there", name)
			}
		}
		around.before(server)
		if _, err := here.Delete(t.Context(), ann, id); err != nil {
			t.Fatal(err)
		}
		if shown(here, ann) {
			t.Errorf("%s: it is shown by who deleted it", name)
		}
		around.after(server)
		if shown(here, ann) {
			t.Errorf("%s: it is shown by who deleted it, after a while", name)
		}
		if name != "cache hangs" && shown(there, ann) { // whose page of before comes back for a moment
			t.Errorf("%s: it is shown by others", name)
		}
		if !shown(here, ben) || !shown(there, ben) {
			t.Errorf("%s: it is gone from another mailbox", name)
		}
	}
}

func TestAnswersArePacked(t *testing.T) {
	for _, body := range [][]byte{{}, []byte("short"), bytes.Repeat([]byte("some words "), 5000)} {
		a := &reading.Answer{Body: body}
		for range 2 {
			packed, err := a.Packed()
			if err != nil {
				t.Fatal(err)
			}
			r, err := gzip.NewReader(bytes.NewReader(packed))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, body) {
				t.Errorf("%d bytes come back as %d, %v", len(body), len(got), err)
			}
			if len(body) > 1000 && len(packed) > len(body)/4 {
				t.Errorf("%d bytes are packed to %d", len(body), len(packed))
			}
		}
	}
}
