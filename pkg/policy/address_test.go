package policy

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzNormalise: whatever comes from the network has one form, and that form is safe to store, compare and print.
func FuzzNormalise(f *testing.F) {
	for _, s := range []string{
		"ann@example.com", "Ann@EXAMPLE.com.", "ann@m\u00fcnchen.example", "ann@xn--mnchen-3ya.example", "ann@a\u3002b", "jose\u0301@x.example",
		"\u0130@x.example", "\u1e9e@stra\u00dfe.example", "\u212a@x.example", "a@\u2488b", "a@b\u200dc.example", "a@\u05d0.example", "a@xn--", "a@xn--a.example",
		"a@faß.de", "a@\ufb01.example", "ǅ@ǅ.example", "a@-.example", "a@1.2.3.4", "\xff@x", "a@\xff", "@", "a@", "@a", "a@b@c",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, address string) {
		mailbox, err := Normalise(address)
		if err != nil {
			if err != ErrAddress && err != ErrRelay {
				t.Fatalf("%q: %v", address, err)
			}
			return
		}
		if again, err := Normalise(mailbox); again != mailbox || err != nil {
			t.Fatalf("%q becomes %q, which becomes %q, %v", address, mailbox, again, err)
		}
		local, domain, _ := strings.Cut(mailbox, "@")
		if len(mailbox) > maxMailbox || !utf8.ValidString(mailbox) || local == "" || !isASCII(domain) || strings.ToLower(mailbox) != mailbox ||
			strings.ContainsAny(mailbox, "\r\n\x00%!") || strings.Contains(domain, "@") || strings.ContainsAny(domain, " /[]*") {
			t.Fatalf("%q becomes %q", address, mailbox)
		}
		for _, same := range []string{address + ".", strings.ToUpper(domain), domain + "\u3002"} {
			if !strings.Contains(same, "@") {
				same = local + "@" + same
			}
			if strings.HasSuffix(address, ".") && same == address+"." {
				continue
			}
			if got, err := Normalise(same); got != mailbox {
				t.Fatalf("%q becomes %q, but %q becomes %q, %v", address, mailbox, same, got, err)
			}
		}
	})
}

// FuzzKey: every text has a key that NATS takes, and comes back from it.
func FuzzKey(f *testing.F) {
	f.Add("*.example.com")
	f.Add("jos\u00e9 \"x\"@example.com")
	f.Fuzz(func(t *testing.T, text string) {
		k := key(recipientKeys, text)
		if strings.Trim(k, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" {
			t.Fatalf("key %q", k)
		}
		kind, again, ok := parseKey(k)
		if ok != (text != "") || (ok && (again != text || kind != recipientKeys)) {
			t.Errorf("%q became %q", text, again)
		}
	})
}
