package dead_test

import (
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/dead"
	"github.com/sluice-mail/sluice/pkg/stream/internal/streamtest"
)

func TestTheIndexFollowsTheDeadLetters(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	x := dead.NewIndex(f.NC)
	is := func(id ulid.ULID, want bool) {
		t.Helper()
		if err := x.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := x.Has(t.Context(), id); err != nil || got != want {
			t.Errorf("a dead letter: %v (%v), want %v", got, err, want)
		}
	}
	first, _ := f.Mail(0, "one\r\n")
	is(first, false)
	bury(t, f, "refused")
	is(first, true)
	second, _ := f.Mail(0, "two\r\n")
	bury(t, f, "refused")
	is(second, true)
	if err := dead.New(f.NC).Drop(t.Context(), first.String(), "me@here", "spam"); err != nil {
		t.Fatal(err)
	}
	is(first, false)
	is(second, true)
	if err := f.JS.DeleteStream(t.Context(), stream.DeadStream); err != nil {
		t.Fatal(err)
	}
	f.DeadStream(64 << 20)
	third, _ := f.Mail(0, "three\r\n")
	bury(t, f, "refused")
	is(second, false)
	is(third, true)
}
