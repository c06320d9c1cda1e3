package storetest

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

// otherMailboxes: a mail that is stored again with other mailboxes, as by a program that reads addresses in another way, is listed
// by none of them; else the last deletion that is counted would take its bytes from a mailbox that still lists it.
func otherMailboxes(t *testing.T, open Open) {
	s, m := open(t, Options{}), NewMail(time.Now(), Text(500), "ann@example.com", "bob@example.com")
	put(t, s, mailstore.Result{New: 1}, m)
	again, fresh := m, NewMail(time.Now(), Text(500), "Ann@example.com")
	again.Mailboxes = []string{"ann@example.com", "Ann@example.com"}
	// Not in the millisecond in which it was stored, by which a transaction knows what it has stored itself.
	for stored, err := s.Mail(t.Context(), m.ID); time.Since(stored.StoredAt) < 2*time.Millisecond; stored, err = s.Mail(t.Context(), m.ID) {
		if err != nil {
			t.Fatal(err)
		}
	}
	put(t, s, mailstore.Result{New: 1, Existing: 1}, again, fresh)
	if got := inbox(t, s, "Ann@example.com"); len(got) != 1 || got[0].ID != fresh.ID {
		t.Errorf("the other mailbox lists %d mails, want only the one that was new", len(got))
	}
	for i, box := range []string{"Ann@example.com", "ann@example.com"} {
		if _, err := s.Delete(t.Context(), box, m.ID); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(raw(t, s, m.ID), m.Raw) {
			t.Fatalf("%d: bob lists it, and its bytes are gone", i)
		}
	}
	if _, err := s.Delete(t.Context(), "bob@example.com", m.ID); err != nil {
		t.Fatal(err)
	}
	put(t, s, mailstore.Result{Existing: 1}, again)
	if got := inbox(t, s, "Ann@example.com"); len(got) != 1 {
		t.Errorf("the other mailbox lists %d mails, after all have deleted one", len(got))
	}
}

// lostLines: what mailboxes have lost of their lists comes back with a replay, deleted or not, and is counted.
func lostLines(t *testing.T, open Open) {
	var exec func(string)
	s, boxes := open(t, Options{Exec: &exec}), []string{"ann@example.com", "bob@example.com", "eve@example.com"}
	m, other := NewMail(time.Now(), Text(500), boxes...), NewMail(time.Now(), Text(500), boxes...)
	put(t, s, mailstore.Result{New: 2}, m, other)
	for _, id := range []ulid.ULID{m.ID, other.ID} {
		if _, err := s.Delete(t.Context(), boxes[0], id); err != nil {
			t.Fatal(err)
		}
	}
	exec("DELETE FROM inbox")
	put(t, s, mailstore.Result{New: 1, Existing: 2}, m, other, NewMail(time.Now(), Text(500), boxes...))
	for i, box := range boxes {
		if n := len(inbox(t, s, box)); n != 3 {
			t.Errorf("%s lists %d mails, want 3", box, n)
		}
		if !bytes.Equal(raw(t, s, m.ID), m.Raw) {
			t.Fatalf("%d of %d have deleted it, and its bytes are gone", i, len(boxes))
		}
		if gone, err := s.Delete(t.Context(), box, m.ID); err != nil || len(gone) != 1 {
			t.Fatalf("%d deleted, %v", len(gone), err)
		}
	}
	if err := s.Raw(t.Context(), m.ID, io.Discard); !errors.Is(err, mailstore.ErrNotFound) {
		t.Errorf("all have deleted it: %v", err)
	}
}
