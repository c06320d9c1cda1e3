package reading_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/services/internal/reading"
	"github.com/sluice-mail/sluice/services/internal/reading/readingtest"
)

// counting counts the questions that reach the database.
type counting struct {
	reading.Store
	lists, finds atomic.Int64
}

func (c *counting) List(ctx context.Context, mailbox string, q mailstore.Query) ([]mailstore.Entry, error) {
	c.lists.Add(1)
	return c.Store.List(ctx, mailbox, q)
}

func (c *counting) Find(ctx context.Context, mailbox string, id ulid.ULID) (mailstore.Stored, error) {
	c.finds.Add(1)
	return c.Store.Find(ctx, mailbox, id)
}

func idsOf(entries []mailstore.Entry) (ids []ulid.ULID) {
	for _, e := range entries {
		ids = append(ids, e.ID)
	}
	return ids
}

// TestCacheAnswersAsTheDatabase: whatever is asked, and however long the mailbox, the page gives what the database would.
func TestCacheAnswersAsTheDatabase(t *testing.T) {
	cache, _ := newCache(t)
	for _, n := range []int{0, 1, 99, 100, 101, 130} {
		t.Run(fmt.Sprint(n, " mails"), func(t *testing.T) {
			store, mailbox := readingtest.Store(t), fmt.Sprintf("u%d@example.com", n)
			var ids []ulid.ULID
			for i := range n {
				ids = append(ids, readingtest.Put(t, store, fmt.Sprintf("Subject: mail %d\r\n\r\n", i), mailbox))
			}
			r := newReader(t, store, cache)
			queries := []mailstore.Query{{}, {Limit: 1}, {Limit: 100}, {Limit: 150}, {Limit: 1000}, {Contains: "mail 9"}}
			for _, id := range append(slices.Clone(ids), ulid.Make()) {
				queries = append(queries, mailstore.Query{Before: id}, mailstore.Query{After: id}, mailstore.Query{Before: id, Limit: 7}, mailstore.Query{After: id, Limit: 7},
					mailstore.Query{After: id, Before: ulid.Make(), Limit: 3})
			}
			for range 2 { // from the database, then from the cache
				for _, q := range queries {
					want, err := store.List(t.Context(), mailbox, q)
					if err != nil {
						t.Fatal(err)
					}
					got, err := r.List(t.Context(), mailbox, q)
					if err != nil || !slices.Equal(idsOf(got), idsOf(want)) {
						t.Fatalf("%+v: %v (%v), want %v", q, idsOf(got), err, idsOf(want))
					}
				}
			}
		})
	}
}

func TestListsAndMailsComeFromTheCache(t *testing.T) {
	cache, server := newCache(t)
	memory := readingtest.Store(t)
	store := &counting{Store: memory}
	r := newReader(t, store, cache)
	id := readingtest.Put(t, memory, "Subject: one\r\n\r\ntext\r\n", ann)
	read := func() {
		t.Helper()
		entries, err := r.List(t.Context(), ann, mailstore.Query{})
		if err != nil || len(entries) != 1 || entries[0].ID != id || entries[0].Subject != "one" || entries[0].Stored.IsZero() {
			t.Fatalf("%+v %v", entries, err)
		}
		m, err := r.Open(t.Context(), ann, id)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if text, _, _, err := m.Bodies(); text != "text\r\n" || err != nil {
			t.Fatalf("%q %v", text, err)
		}
	}
	for range 3 {
		read()
	}
	if lists, finds := store.lists.Load(), store.finds.Load(); lists != 1 || finds != 1 {
		t.Errorf("the database was asked for %d lists and %d mails, want 1 and 1", lists, finds)
	}
	server.Kill()
	read()
	server.Restart()
	read()
}

// TestNoReaderIsShownAnOlderState: whoever asks after a deletion must not be given the answer to a question that somebody
// else had asked before it.
func TestNoReaderIsShownAnOlderState(t *testing.T) {
	memory := readingtest.Store(t)
	id := readingtest.Put(t, memory, "Subject: one\r\n\r\n", ann)
	cache, _ := newCache(t)
	slow := &slowOnce{Store: memory, read: make(chan struct{}), release: make(chan struct{})}
	r := newReader(t, slow, cache)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = r.List(t.Context(), ann, mailstore.Query{})
	}()
	<-slow.read // it has seen the mail, and has not answered
	if gone, err := r.Delete(t.Context(), ann, id); err != nil || len(gone) != 1 {
		t.Fatal(gone, err)
	}
	after := make(chan []mailstore.Entry, 1)
	go func() {
		entries, _ := r.List(t.Context(), ann, mailstore.Query{})
		after <- entries
	}()
	close(slow.release)
	<-done
	if entries := <-after; len(entries) != 0 {
		t.Error("a list asked for after the deletion shows the mail")
	}
	if entries, err := r.List(t.Context(), ann, mailstore.Query{}); err != nil || len(entries) != 0 {
		t.Errorf("a page of before the deletion was cached: %v %v", idsOf(entries), err)
	}
}

// slowOnce answers its first list late, with what it has read early.
type slowOnce struct {
	reading.Store
	calls         atomic.Int64
	read, release chan struct{}
}

func (s *slowOnce) List(ctx context.Context, mailbox string, q mailstore.Query) ([]mailstore.Entry, error) {
	entries, err := s.Store.List(ctx, mailbox, q)
	if s.calls.Add(1) == 1 {
		close(s.read)
		<-s.release
	}
	return entries, err
}
