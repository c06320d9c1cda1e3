package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

// lists: what a mailbox lists can be narrowed down, and says when it was stored.
func lists(t *testing.T, open Open) {
	s := open(t, Options{})
	before := time.Now().Add(-time.Second).Truncate(time.Millisecond)
	var mails []mailstore.Mail
	for i := range 5 {
		m := NewMail(time.Now().Add(time.Duration(i-200)*time.Hour), Text(300), "ann@example.com")
		m.Derived.Subject = []string{"Rechnung", "100% off", "10_0", "rechnung Nr. 2", "last"}[i]
		mails = append(mails, m)
	}
	put(t, s, mailstore.Result{New: 5}, mails...)
	got := func(q mailstore.Query) (found []int) {
		t.Helper()
		entries, err := s.List(t.Context(), "ann@example.com", q)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			found = append(found, slices.IndexFunc(mails, func(m mailstore.Mail) bool { return m.ID == e.ID }))
			if e.Stored.Before(before) || e.Stored.After(time.Now().Add(time.Minute)) || e.Seen {
				t.Errorf("stored %v, seen %v", e.Stored, e.Seen)
			}
		}
		return found
	}
	for _, c := range []struct {
		q    mailstore.Query
		want []int
	}{
		{mailstore.Query{}, []int{4, 3, 2, 1, 0}},
		{mailstore.Query{Limit: 2}, []int{4, 3}},
		{mailstore.Query{Before: mails[3].ID, Limit: 2}, []int{2, 1}},
		{mailstore.Query{After: mails[2].ID}, []int{4, 3}},
		{mailstore.Query{After: mails[0].ID, Before: mails[2].ID}, []int{1}},
		{mailstore.Query{Contains: "RECHNUNG"}, []int{3, 0}},
		{mailstore.Query{Contains: "0% "}, []int{1}},
		{mailstore.Query{Contains: "0_0"}, []int{2}},
		{mailstore.Query{Contains: "sender@EXAMPLE.net", Limit: 1}, []int{4}},
		{mailstore.Query{Contains: `\`}, nil},
	} {
		if found := got(c.q); !slices.Equal(found, c.want) {
			t.Errorf("%+v: %v, want %v", c.q, found, c.want)
		}
	}
	since, err := s.StoredSince(t.Context(), "ann@example.com", before, 3)
	if err != nil || len(since) != 3 || since[0].ID != mails[0].ID {
		t.Errorf("%d stored since then, %v", len(since), err)
	}
	if since, err = s.StoredSince(t.Context(), "ann@example.com", time.Now().Add(time.Hour), 3); err != nil || len(since) != 0 {
		t.Errorf("%d stored since the future, %v", len(since), err)
	}
}

// find: a reader finds what is in his mailbox, and learns of no other.
func find(t *testing.T, open Open) {
	s, m := open(t, Options{}), NewMail(time.Now(), Text(500), "ann@example.com", "bob@example.com")
	put(t, s, mailstore.Result{New: 1}, m)
	got, err := s.Find(t.Context(), "ann@example.com", m.ID)
	if err != nil || got.SHA256 != m.SHA256 || len(got.Entries) != 1 || got.Entries[0].Mailbox != "ann@example.com" || got.StoredAt != got.Entries[0].Stored {
		t.Errorf("%+v, %v", got, err)
	}
	if !bytes.Equal(got.Raw, m.Raw) {
		t.Errorf("%d bytes are read along, want %d", len(got.Raw), len(m.Raw))
	}
	large := NewMail(time.Now(), Text(mailstore.FoundBytes+1), "ann@example.com")
	put(t, s, mailstore.Result{New: 1}, large)
	if got, err := s.Find(t.Context(), "ann@example.com", large.ID); err != nil || got.Raw != nil || got.Size != large.Size {
		t.Errorf("a large mail: %d bytes of %d are read along, %v", len(got.Raw), got.Size, err)
	}
	if _, err := s.Find(t.Context(), "eve@example.com", m.ID); !errors.Is(err, mailstore.ErrNotFound) {
		t.Errorf("in another mailbox: %v", err)
	}
	if err := s.MarkSeen(t.Context(), "ann@example.com", m.ID, true); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Find(t.Context(), "ann@example.com", m.ID); err != nil || !got.Entries[0].Seen {
		t.Errorf("not seen: %v", err)
	}
	if got, err := s.Find(t.Context(), "bob@example.com", m.ID); err != nil || got.Entries[0].Seen {
		t.Errorf("seen in another mailbox: %v", err)
	}
	if err := s.MarkSeen(t.Context(), "ann@example.com", m.ID, false); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Find(t.Context(), "ann@example.com", m.ID); err != nil || got.Entries[0].Seen {
		t.Errorf("still seen: %v", err)
	}
	if err := s.MarkSeen(t.Context(), "eve@example.com", m.ID, true); !errors.Is(err, mailstore.ErrNotFound) {
		t.Errorf("seen where it is not: %v", err)
	}
}

// deleting: with the last mailbox the bytes go, and nothing brings them back.
func deleting(t *testing.T, open Open) {
	s := open(t, Options{})
	m, large, other := NewMail(time.Now(), Text(500), "ann@example.com", "bob@example.com"), largeMail(t, 1, mailstore.PartSize+9, "ann@example.com"), NewMail(time.Now(), Text(500), "ann@example.com")
	all := []mailstore.Mail{m, large, other}
	put(t, s, mailstore.Result{New: 3}, all...)
	gone, err := s.Delete(t.Context(), "ann@example.com", m.ID, large.ID, m.ID, ulid.Make())
	if err != nil || len(gone) != 2 {
		t.Fatalf("%d deleted, %v", len(gone), err)
	}
	if gone, err := s.Delete(t.Context(), "ann@example.com", m.ID, large.ID); err != nil || len(gone) != 0 {
		t.Errorf("%d deleted again, %v", len(gone), err)
	}
	check := func(when string, erased int) {
		t.Helper()
		if got := inbox(t, s, "ann@example.com"); len(got) != 1 || got[0].ID != other.ID {
			t.Errorf("%s: %d mails in ann's list", when, len(got))
		}
		for _, id := range []ulid.ULID{m.ID, large.ID} {
			if _, err := s.Find(t.Context(), "ann@example.com", id); !errors.Is(err, mailstore.ErrNotFound) {
				t.Errorf("%s: found: %v", when, err)
			}
		}
		if err := s.Raw(t.Context(), large.ID, io.Discard); !errors.Is(err, mailstore.ErrNotFound) {
			t.Errorf("%s: its bytes: %v", when, err)
		}
		n := 0
		if err := s.IDs(t.Context(), ulid.ULID{}, mailstore.LastID(), func(r mailstore.Row) error {
			if r.Erased {
				n++
			}
			return nil
		}); err != nil || n != erased {
			t.Errorf("%s: %d erased, want %d: %v", when, n, erased, err)
		}
	}
	check("deleted", 1)
	if !bytes.Equal(raw(t, s, m.ID), m.Raw) || len(inbox(t, s, "bob@example.com")) != 1 {
		t.Error("bob has lost what ann deleted")
	}
	put(t, s, mailstore.Result{Existing: 3}, all...)
	if n, err := s.Reindex(t.Context(), all); err != nil || n != 0 {
		t.Errorf("%d lines rewritten, %v", n, err)
	}
	check("stored again", 1)
	if _, err := s.Delete(t.Context(), "bob@example.com", m.ID); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		check("bob, too", 2)
		if _, err := s.Mail(t.Context(), m.ID); !errors.Is(err, mailstore.ErrNotFound) {
			t.Errorf("what is known of it: %v", err)
		}
		put(t, s, mailstore.Result{Existing: 3}, all...)
	}
	if err := s.MarkSeen(t.Context(), "bob@example.com", m.ID, true); !errors.Is(err, mailstore.ErrNotFound) {
		t.Errorf("seen after its deletion: %v", err)
	}
}

func deletingAll(t *testing.T, open Open) {
	s := open(t, Options{})
	var mails []mailstore.Mail
	for range 450 {
		mails = append(mails, NewMail(time.Now().Add(-time.Hour), Text(100), "ann@example.com", "bob@example.com"))
	}
	put(t, s, mailstore.Result{New: 450}, mails...)
	slices.SortFunc(mails, func(x, y mailstore.Mail) int { return x.ID.Compare(y.ID) })
	told := 0
	n, err := s.DeleteAll(t.Context(), "ann@example.com", mails[400].ID, func(ids []ulid.ULID) { told += len(ids) })
	if err != nil || n != 401 || told != 401 {
		t.Errorf("%d deleted, %d told of, %v", n, told, err)
	}
	if got := inbox(t, s, "ann@example.com"); len(got) != 49 {
		t.Errorf("%d mails are left, want 49", len(got))
	}
	if n, err := s.DeleteAll(t.Context(), "ann@example.com", mailstore.LastID(), nil); err != nil || n != 49 {
		t.Errorf("%d deleted, %v", n, err)
	}
	if got := inbox(t, s, "bob@example.com"); len(got) != 450 {
		t.Errorf("bob has %d mails, want 450", len(got))
	}
}

// deletingAtOnce: deleters of all mailboxes of the same mails, readers, and storers who store them again.
func deletingAtOnce(t *testing.T, open Open) {
	s := open(t, Options{})
	boxes := []string{"a@example.com", "b@example.com", "c@example.com", "d@example.com"}
	var mails []mailstore.Mail
	for range 60 {
		mails = append(mails, NewMail(time.Now(), Text(400), boxes...))
	}
	put(t, s, mailstore.Result{New: len(mails)}, mails...)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var deleted atomic.Int64
	var all sync.WaitGroup
	for worker := range 64 {
		all.Go(func() {
			for range 10 {
				if err := disturb(ctx, s, worker, mails, boxes, &deleted); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	for _, box := range boxes {
		n, err := s.DeleteAll(t.Context(), box, mailstore.LastID(), nil)
		if err != nil {
			t.Fatal(err)
		}
		deleted.Add(int64(n))
	}
	put(t, s, mailstore.Result{Existing: len(mails)}, mails...)
	if n := deleted.Load(); n != int64(len(mails)*len(boxes)) {
		t.Errorf("%d deletions, want %d", n, len(mails)*len(boxes))
	}
	erased := 0
	if err := s.IDs(t.Context(), ulid.ULID{}, mailstore.LastID(), func(r mailstore.Row) error {
		if r.Erased {
			erased++
		}
		return nil
	}); err != nil || erased != len(mails) {
		t.Errorf("%d mails are erased, want %d: %v", erased, len(mails), err)
	}
}

func disturb(ctx context.Context, s mailstore.Store, worker int, mails []mailstore.Mail, boxes []string, deleted *atomic.Int64) error {
	box, some := boxes[rand.IntN(len(boxes))], rand.Perm(len(mails))[:5]
	switch worker % 3 {
	case 0:
		ids := make([]ulid.ULID, 0, len(some))
		for _, i := range some {
			ids = append(ids, mails[i].ID)
		}
		gone, err := s.Delete(ctx, box, ids...)
		deleted.Add(int64(len(gone)))
		return err
	case 1:
		batch := make([]mailstore.Mail, 0, len(some))
		for _, i := range some {
			batch = append(batch, mails[i])
		}
		r, err := s.PutBatch(ctx, batch)
		if err == nil && r.New > 0 {
			return fmt.Errorf("%d mails are new a second time", r.New)
		}
		return err
	}
	entries, err := s.List(ctx, box, mailstore.Query{Limit: 5})
	for _, e := range entries {
		if err := s.MarkSeen(ctx, box, e.ID, true); err != nil && !errors.Is(err, mailstore.ErrNotFound) {
			return err
		}
		// It may be deleted at any moment, but it is never there without its bytes.
		var b bytes.Buffer
		if err := s.Raw(ctx, e.ID, &b); err != nil && !errors.Is(err, mailstore.ErrNotFound) {
			return err
		}
	}
	return err
}

// nobodysMail: a mail without recipients is in no list, but it is there, and not a deleted one.
func nobodysMail(t *testing.T, open Open) {
	s, m := open(t, Options{}), NewMail(time.Now(), Text(500))
	put(t, s, mailstore.Result{New: 1}, m)
	put(t, s, mailstore.Result{Existing: 1}, m)
	if !bytes.Equal(raw(t, s, m.ID), m.Raw) {
		t.Error("its bytes are not there")
	}
	if err := s.IDs(t.Context(), m.ID, m.ID, func(r mailstore.Row) error {
		if r.Erased {
			t.Error("it is called erased")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}
