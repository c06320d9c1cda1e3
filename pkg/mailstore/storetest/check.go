package storetest

import (
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

func rowOf(m mailstore.Mail) mailstore.Row {
	return mailstore.Row{ID: m.ID, Size: m.Size, SHA256: m.SHA256}
}

// What the database says of many mails at once is what one gets who adds them up.
func sumsAndLines(t *testing.T, open Open) {
	s := open(t, Options{})
	var mails []mailstore.Mail
	var ids []ulid.ULID
	var lines []mailstore.Line
	var want mailstore.Sum
	for i := range 1300 { // more than a statement asks for, over two days
		m := NewMail(time.Now().Add(-time.Duration(i)*100*time.Second), Text(i), "a@example.com", "b@example.com")
		mails, ids = append(mails, m), append(ids, m.ID)
		for _, mailbox := range m.Mailboxes {
			lines = append(lines, mailstore.Line{Mbox: mailstore.Mbox(mailbox), ID: m.ID})
		}
		want.Add(rowOf(m))
	}
	put(t, s, mailstore.Result{New: len(mails)}, mails...)
	absent := NewMail(time.Now(), Text(10), "a@example.com")
	sum := func(what string, got mailstore.Sum, err error, want mailstore.Sum) {
		t.Helper()
		if err != nil || got != want {
			t.Errorf("%s: %+v (%v), want %+v", what, got, err, want)
		}
	}
	got, err := s.Sum(t.Context(), ulid.ULID{}, mailstore.LastID())
	sum("all", got, err, want)
	got, err = s.SumOf(t.Context(), append(ids, absent.ID))
	sum("all by id", got, err, want)
	var one mailstore.Sum
	one.Add(rowOf(mails[700]))
	got, err = s.Sum(t.Context(), ids[700], ids[700])
	sum("one", got, err, one)
	got, err = s.Sum(t.Context(), absent.ID, absent.ID)
	sum("none", got, err, mailstore.Sum{})
	got, err = s.SumOf(t.Context(), nil)
	sum("none by id", got, err, mailstore.Sum{})

	var every, few mailstore.LineSum
	for _, l := range lines {
		every.Add(l)
		if l.ID == ids[700] || l.ID == ids[701] { // the ids descend
			few.Add(l)
		}
	}
	lineSum := func(what string, from, to ulid.ULID, want mailstore.LineSum) {
		t.Helper()
		if got, err := s.SumLines(t.Context(), from, to); err != nil || got != want {
			t.Errorf("%s: %+v (%v), want %+v", what, got, err, want)
		}
	}
	lineSum("all lines", ulid.ULID{}, mailstore.LastID(), every)
	lineSum("the lines of two", ids[701], ids[700], few)
	lineSum("no lines", absent.ID, absent.ID, mailstore.LineSum{})

	other := mailstore.Line{Mbox: mailstore.Mbox("c@example.com"), ID: ids[0]}
	if n, err := s.Lines(t.Context(), append(lines, other)); err != nil || n != len(lines) {
		t.Errorf("%d lines (%v), want %d", n, err, len(lines))
	}
}

func damagedBytes(t *testing.T, open Open) {
	s := open(t, Options{})
	var all []mailstore.Row
	var mails []mailstore.Mail
	for i := range 600 {
		mails = append(mails, NewMail(time.Now(), Text(20*i), "a@example.com"))
	}
	mails = append(mails, largeMail(t, 3, 9<<20, "a@example.com"))
	put(t, s, mailstore.Result{New: len(mails)}, mails...)
	for _, m := range mails {
		all = append(all, rowOf(m))
	}
	if damaged, err := s.Damaged(t.Context(), all); err != nil || len(damaged) != 0 {
		t.Fatalf("of whole mails %v are called damaged (%v)", damaged, err)
	}
	// The same as other bytes in the database would be: another sum is expected.
	all[17].SHA256[0]++
	all[400].Size++
	all[9].ID = ulid.Make() // there is no body of it
	if damaged, err := s.Damaged(t.Context(), all); err != nil || len(damaged) != 3 {
		t.Errorf("damaged are %v (%v), want 3", damaged, err)
	}
}
