package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

func inboxPages(t *testing.T, open Open) {
	s := open(t, Options{})
	var mails []mailstore.Mail
	for i := range 57 {
		// Over weeks, some in the same millisecond, and one from a sender whose clock (or ours) is ahead.
		mails = append(mails, NewMail(time.Now().Add(5*time.Minute-time.Duration(i/2)*13*time.Hour), Text(50), "a@example.com"))
	}
	put(t, s, mailstore.Result{New: 57}, mails...)
	want := slices.Clone(mails)
	slices.SortFunc(want, func(x, y mailstore.Mail) int { return y.ID.Compare(x.ID) })
	for _, size := range []int{1, 7, 57, 100} {
		var got []ulid.ULID
		var before ulid.ULID
		for {
			page, err := s.Inbox(t.Context(), "a@example.com", before, size)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) > size {
				t.Fatalf("a page of %d, asked for %d", len(page), size)
			}
			for _, e := range page {
				got = append(got, e.ID)
			}
			if len(page) < size {
				break
			}
			before = page[len(page)-1].ID
		}
		if !slices.EqualFunc(got, want, func(id ulid.ULID, m mailstore.Mail) bool { return id == m.ID }) {
			t.Errorf("pages of %d: %d mails, not the %d expected or not newest first", size, len(got), len(want))
		}
	}
}

func mailboxesAreApart(t *testing.T, open Open) {
	s := open(t, Options{})
	// A database that compares by a collation would see one or two mailboxes here.
	mailboxes := []string{"jose@example.com", "jos\u00e9@example.com", "jose\u0301@example.com", "JOSE@example.com", "jose@example.com "}
	for _, mailbox := range mailboxes {
		put(t, s, mailstore.Result{New: 1}, NewMail(time.Now(), Text(50), mailbox))
	}
	for _, mailbox := range mailboxes {
		if n := len(inbox(t, s, mailbox)); n != 1 {
			t.Errorf("%q has %d mails, want 1", mailbox, n)
		}
	}
	if n := len(inbox(t, s, "nobody@example.com")); n != 0 {
		t.Errorf("an unknown mailbox has %d mails", n)
	}
}

func unknownMail(t *testing.T, open Open) {
	s := open(t, Options{})
	if _, err := s.Mail(t.Context(), ulid.Make()); !errors.Is(err, mailstore.ErrNotFound) {
		t.Errorf("Mail: %v", err)
	}
	if err := s.Raw(t.Context(), ulid.Make(), &bytes.Buffer{}); !errors.Is(err, mailstore.ErrNotFound) {
		t.Errorf("Raw: %v", err)
	}
}

func idsInOrder(t *testing.T, open Open) {
	s := open(t, Options{})
	now := time.Now()
	var mails []mailstore.Mail
	for i := range 2500 { // more than a page, over a hundred days
		mails = append(mails, NewMail(now.Add(-time.Duration(i)*time.Hour), []byte(fmt.Sprint(i)), "a@example.com"))
	}
	for batch := range slices.Chunk(mails, 500) {
		put(t, s, mailstore.Result{New: len(batch)}, batch...)
	}
	for range 1100 { // more than a page in one day
		mails = append(mails, NewMail(now, nil, "a@example.com"))
	}
	put(t, s, mailstore.Result{New: 1100}, mails[2500:]...)
	slices.SortFunc(mails, func(x, y mailstore.Mail) int { return x.ID.Compare(y.ID) })
	for _, r := range [][2]int{{0, len(mails) - 1}, {0, 0}, {17, 1999}, {2490, 3599}} {
		got := idsBetween(t, s, mails[r[0]].ID, mails[r[1]].ID)
		if !slices.EqualFunc(got, mails[r[0]:r[1]+1], func(id ulid.ULID, m mailstore.Mail) bool { return id == m.ID }) {
			t.Errorf("%v: %d ids, want %d", r, len(got), r[1]-r[0]+1)
		}
	}
	if got := allIDs(t, s); len(got) != len(mails) {
		t.Errorf("all: %d ids, want %d", len(got), len(mails))
	}
	i := 0
	stop := errors.New("enough")
	err := s.IDs(t.Context(), ulid.ULID{}, mails[len(mails)-1].ID, func(r mailstore.Row) error {
		if r.Size != mails[i].Size || r.SHA256 != mails[i].SHA256 {
			t.Fatalf("row %d: %+v", i, r)
		}
		if i++; i == 10 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) {
		t.Errorf("the function's error came back as %v", err)
	}
}

func reindex(t *testing.T, open Open) {
	s := open(t, Options{})
	m := NewMail(time.Now(), Text(400), "a@example.com", "b@example.com")
	absent := NewMail(time.Now(), Text(400), "a@example.com")
	if _, err := s.PutOne(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{2, 0} { // the second time there is nothing to change
		changed, err := s.Reindex(t.Context(), []mailstore.Mail{m, absent})
		if err != nil || changed != want {
			t.Fatalf("%d rows changed (%v), want %d", changed, err, want)
		}
	}
	for _, mailbox := range m.Mailboxes {
		if e := inbox(t, s, mailbox); len(e) != 1 || e[0].Derived != m.Derived {
			t.Errorf("%s: %+v", mailbox, e)
		}
	}
	if !bytes.Equal(raw(t, s, m.ID), m.Raw) || len(allIDs(t, s)) != 1 {
		t.Error("more than the derived columns changed")
	}
}

func dropBefore(t *testing.T, open Open) {
	s := open(t, Options{Retention: 20 * 24 * time.Hour}) // partitions of a day, where there are any
	now := time.Now().UTC().Truncate(24 * time.Hour).Add(time.Hour)
	old := NewMail(now.Add(-3*24*time.Hour), Text(500), "a@example.com")
	fresh := NewMail(now, Text(500), "a@example.com")
	large := largeMail(t, 6, 9<<20, "a@example.com")
	put(t, s, mailstore.Result{New: 3}, old, fresh, large)
	if err := s.DropBefore(t.Context(), mailstore.Day(fresh.ID)); err != nil {
		t.Fatal(err)
	}
	if got := inbox(t, s, "a@example.com"); len(got) != 2 {
		t.Errorf("%d mails left in the mailbox, want 2", len(got))
	}
	if _, err := s.Mail(t.Context(), old.ID); !errors.Is(err, mailstore.ErrNotFound) {
		t.Errorf("the old mail: %v", err)
	}
	if got := raw(t, s, fresh.ID); !bytes.Equal(got, fresh.Raw) {
		t.Error("the new mail is damaged")
	}
	if count(t, s) != 3 {
		t.Error("dropped mails are not counted any more")
	}
}

func retention(t *testing.T, open Open) {
	s := open(t, Options{Retention: 36 * time.Hour})
	old := NewMail(time.Now().Add(-72*time.Hour), Text(500), "a@example.com")
	young := NewMail(time.Now().Add(-30*time.Hour), Text(500), "a@example.com")
	put(t, s, mailstore.Result{New: 1, Expired: 1}, old, young)
	if err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := allIDs(t, s); len(got) != 1 || got[0] != young.ID {
		t.Errorf("left: %v", got)
	}
}

// Any number of processes start at once.
func migrateAgain(t *testing.T, open Open) {
	s := open(t, Options{})
	put(t, s, mailstore.Result{New: 1}, NewMail(time.Now(), Text(10), "a@example.com"))
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := s.Migrate(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if len(allIDs(t, s)) != 1 {
		t.Error("the mail is gone")
	}
}
