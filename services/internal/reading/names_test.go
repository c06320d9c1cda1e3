package reading_test

import (
	"testing"

	"github.com/sluice-mail/sluice/services/internal/reading"
)

// TestNamesFindTheMailboxThatTheIngressFills.
func TestNamesFindTheMailboxThatTheIngressFills(t *testing.T) {
	for _, c := range []struct {
		naming           reading.Naming
		address, mailbox string // "" is none
	}{
		{reading.Naming{}, "Ann@Example.COM", ann},
		{reading.Naming{}, "ann+list@example.com", "ann+list@example.com"},
		{reading.Naming{}, "ann", ""},
		{reading.Naming{}, "@example.com", ""},
		{reading.Naming{}, "ann@", ""},
		{reading.Naming{}, "a@b@example.com", ""},
		{reading.Naming{}, "ann@[127.0.0.1]", ""},
		{reading.Naming{}, "\xff@example.com", ""},
		{reading.Naming{}, "ann@ExÄmple.com", "ann@xn--exmple-cua.com"},
		{reading.Naming{Delimiter: "+"}, "ann+list@example.com", ann},
		{reading.Naming{Primary: "example.com"}, "ann", ann},
		{reading.Naming{Primary: "example.com"}, "ANN@alias.example", ann},
		{reading.Naming{Primary: "example.com", Delimiter: "+-"}, "ann-x", ann},
		{reading.Naming{Primary: "example.com"}, "", ""},
	} {
		names, err := c.naming.Names()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := names.Mailbox(c.address); got != c.mailbox || (err != nil) != (c.mailbox == "") {
			t.Errorf("%+v %q: %q (%v), want %q", c.naming, c.address, got, err, c.mailbox)
		}
	}
	if _, err := (reading.Naming{Primary: "no domain"}).Names(); err == nil {
		t.Error("a primary domain that is none is taken")
	}
}
