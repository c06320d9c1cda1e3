package reading_test

import (
	"errors"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/services/internal/reading"
	"github.com/sluice-mail/sluice/services/internal/reading/readingtest"
)

// shows says whether a mailbox lists a mail, and whether it can be opened there. Both must agree.
func shows(t *testing.T, r *reading.Reader, mailbox string, id ulid.ULID) bool {
	t.Helper()
	entries, err := r.List(t.Context(), mailbox, mailstore.Query{})
	if err != nil {
		t.Fatal(err)
	}
	listed := false
	for _, e := range entries {
		listed = listed || e.ID == id
	}
	m, err := r.Open(t.Context(), mailbox, id)
	switch {
	case err == nil:
		m.Close()
	case !errors.Is(err, mailstore.ErrNotFound):
		t.Fatal(err)
	}
	if opened := err == nil; opened != listed {
		t.Errorf("listed %v, but opened %v", listed, opened)
	}
	return listed
}

// TestDeletedMailIsGoneAtOnce: for all readers, and only from that mailbox.
func TestDeletedMailIsGoneAtOnce(t *testing.T) {
	cache, server := newCache(t)
	store := readingtest.Store(t)
	id := readingtest.Put(t, store, "Subject: one\r\n\r\n", ann, ben)
	here, there := newReader(t, store, cache), newReader(t, store, clientOf(t, server))
	for _, r := range []*reading.Reader{here, there} {
		if !shows(t, r, ann, id) || !shows(t, r, ben, id) {
			t.Fatal("the mail is not there")
		}
	}
	if gone, err := here.Delete(t.Context(), ann, id, ulid.Make()); err != nil || len(gone) != 1 || gone[0] != id {
		t.Fatalf("%v %v", gone, err)
	}
	for _, r := range []*reading.Reader{here, there} {
		if shows(t, r, ann, id) || !shows(t, r, ben, id) {
			t.Error("the mail is there after it was deleted, or gone from the other mailbox")
		}
	}
	if gone, err := here.Delete(t.Context(), ann, id); err != nil || len(gone) != 0 {
		t.Errorf("deleted twice: %v %v", gone, err)
	}
	if n, err := there.DeleteAll(t.Context(), ben); n != 1 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	if shows(t, here, ben, id) {
		t.Error("the mail is there after its mailbox was emptied")
	}
	if n, err := there.DeleteAll(t.Context(), "nobody@example.com"); n != 0 || err != nil {
		t.Errorf("an empty mailbox: %d %v", n, err)
	}
}

// TestDeletedWhileTheCacheIsAway: its page comes back with the cache, and must not be shown.
func TestDeletedWhileTheCacheIsAway(t *testing.T) {
	cache, server := newCache(t)
	store := readingtest.Store(t)
	id := readingtest.Put(t, store, "Subject: one\r\n\r\n", ann)
	r, other := newReader(t, store, cache), newReader(t, store, clientOf(t, server))
	for range 2 { // the second time from the cache
		if !shows(t, r, ann, id) {
			t.Fatal("the mail is not there")
		}
	}
	server.Stop()
	if _, err := r.Delete(t.Context(), ann, id); err != nil {
		t.Fatal(err)
	}
	server.Continue() // with the page of before
	if shows(t, r, ann, id) {
		t.Error("this process shows what it has deleted itself")
	}
	// And nobody else does for long, because the page is deleted as soon as the cache answers.
	for deadline := time.Now().Add(30 * time.Second); shows(t, other, ann, id); {
		if time.Now().After(deadline) {
			t.Fatal("another process still shows the mail: the deletion of the page was not tried again")
		}
		<-time.After(20 * time.Millisecond)
	}
}

func TestSeenIsSeenByAll(t *testing.T) {
	cache, server := newCache(t)
	store := readingtest.Store(t)
	id := readingtest.Put(t, store, "Subject: one\r\n\r\n", ann)
	here, there := newReader(t, store, cache), newReader(t, store, clientOf(t, server))
	for _, seen := range []bool{false, true, false} {
		if err := here.MarkSeen(t.Context(), ann, id, seen); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			entries, err := there.List(t.Context(), ann, mailstore.Query{})
			if err != nil || len(entries) != 1 || entries[0].Seen != seen {
				t.Errorf("%+v %v, want seen %v", entries, err, seen)
			}
		}
	}
	if err := here.MarkSeen(t.Context(), ben, id, true); !errors.Is(err, mailstore.ErrNotFound) {
		t.Errorf("in another mailbox: %v", err)
	}
}
