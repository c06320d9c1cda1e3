package policy

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func spammer() Client {
	return Client{Addr: netip.MustParseAddr("192.0.2.7"), Helo: "Mail.Spam.example", From: "Bounce+x=y@News.Spam.example"}
}

// denied is the reply to a mail, empty when there is none.
func denied(p *Policy, mailbox string) string {
	if err := p.Denies(spammer(), mailbox); err != nil {
		return err.Error()
	}
	return ""
}

// TestEntryNames: each has one form, which says what it was given.
func TestEntryNames(t *testing.T) {
	for given, want := range map[string]string{
		"net:192.0.2.77/24": "net:192.0.2.0/24", "net:192.0.2.7": "net:192.0.2.7/32", "NET:2001:DB8::1/32": "net:2001:db8::/32", "net:::/0": "net:::/0",
		"helo:Mail.Spam.example": "helo:mail.spam.example", "helo:*.Spam.example": "helo:*.spam.example", "helo:[192.0.2.7]": "helo:[192.0.2.7]",
		"from:Bounce+x=y@Spam.example": "from:bounce+x=y@spam.example", "from:<>": "from:<>", "from:srs0=a!b@x.example": "from:srs0=a!b@x.example",
		"domain:*.M\u00fcnchen.example": "domain:*.xn--mnchen-3ya.example", "rcpt:Ann@Example.com": "rcpt:ann@example.com",
	} {
		n, err := ParseEntry(false, given)
		if err != nil || entryText(n) != want {
			t.Errorf("%s: %q, %v; want %s", given, entryText(n), err, want)
		}
		if again, err := ParseEntry(false, want); err != nil || again != n {
			t.Errorf("%s is not the one form: %v, %v", want, again, err)
		}
	}
	for _, given := range []string{"", "192.0.2.0/24", "ip:192.0.2.0/24", "net:192.0.2.0/33", "net:fe80::1%eth0", "net:::ffff:192.0.2.0/120", "net:", "helo:", "helo:a b", "from:ann",
		"from:@x.example", "domain:*", "domain:a b", "rcpt:ann", "rcpt:a%b@x.example"} {
		if n, err := ParseEntry(false, given); err == nil {
			t.Errorf("%q is taken as %v", given, n)
		}
	}
}

// What is denied is denied everywhere within a second, with the reply as written, until it is removed, allowed or over.
func TestDenialsAreInForceWithinASecond(t *testing.T) {
	b := startBroker(t)
	kv := b.create()
	p, other := newPolicy(t, Config{Domains: []string{"example.com"}}), newPolicy(t, Config{Domains: []string{"example.com"}})
	b.follow(p)
	b.follow(other)
	var slowest time.Duration
	within := func(change, want string) {
		t.Helper()
		began := time.Now()
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			got, also := denied(p, "ann@example.com"), denied(other, "ann@example.com")
			took := time.Since(began)
			if got == want && also == want {
				slowest = max(slowest, took)
				return
			}
			if took > 30*time.Second { // a second is promised, which a busy machine may not keep
				t.Fatalf("%s: %q and %q after %v, want %q", change, got, also, took, want)
			}
		}
	}
	set := func(allow bool, e ListEntry) {
		t.Helper()
		_, err := SetEntry(t.Context(), kv, allow, e)
		try(t, "adding", err)
	}
	for _, name := range []string{"net:192.0.2.0/24", "helo:*.spam.example", "from:bounce+x=y@news.spam.example", "domain:*.spam.example", "rcpt:ann@example.com"} {
		set(false, ListEntry{Name: name, Code: 450, Text: "Not now"})
		within(name, "450 4.7.1 Not now")
		kind, _, _ := strings.Cut(name, ":")
		if r, ok := errors.AsType[*Refusal](p.Denies(spammer(), "ann@example.com")); !ok || r.Reason != "denied_"+kind {
			t.Errorf("the reason for %s is %+v", name, r)
		}
		set(false, ListEntry{Name: name, Code: 550})
		within(name+" again", "550 5.7.1 "+DeniedText)
		set(true, ListEntry{Name: "net:192.0.2.7"})
		within(name+" allowed", "")
		_, err := RemoveEntry(t.Context(), kv, true, "net:192.0.2.7")
		try(t, "removing", err)
		within(name+" not allowed", "550 5.7.1 "+DeniedText)
		_, err = RemoveEntry(t.Context(), kv, false, name)
		try(t, "removing", err)
		within(name+" removed", "")
	}
	set(false, ListEntry{Name: "net:192.0.2.0/24", Code: 550, Expires: time.Now().Add(time.Hour)})
	within("an entry with an end", "550 5.7.1 "+DeniedText)
	// A busy machine may not see an entry before its early end, so the early end comes to one that was seen.
	set(false, ListEntry{Name: "net:192.0.2.0/24", Code: 550, Expires: time.Now().Add(300 * time.Millisecond)})
	within("its end", "")
	t.Logf("the slowest change was in force after %v", slowest)
}

// At MAIL nobody is denied whose recipient may be one that is always allowed.
func TestAllowedRecipientIsHeardFirst(t *testing.T) {
	p := newPolicy(t, Config{Domains: []string{"example.com"}})
	if err := p.DeniesSender(spammer()); err != nil || denied(p, "ann@example.com") != "" {
		t.Errorf("denied before the bucket was read: %v", err)
	}
	state := newBucketState()
	put := func(list, text, value string) {
		state.set(key(list, text), []byte(value), true)
		p.live.Store(state.freeze())
	}
	put(denyKeys, "helo:mail.spam.example", `{"code":554}`)
	if err := p.DeniesSender(spammer()); err == nil || !strings.HasPrefix(err.Error(), "554 5.7.1 ") {
		t.Errorf("at MAIL: %v", err)
	}
	put(allowKeys, "rcpt:postmaster@example.com", `{}`)
	if err := p.DeniesSender(spammer()); err != nil {
		t.Errorf("at MAIL: %v", err)
	}
	if got := denied(p, "postmaster@example.com"); got != "" {
		t.Errorf("the allowed recipient: %s", got)
	}
	if got := denied(p, "ann@example.com"); got != "554 5.7.1 "+DeniedText {
		t.Errorf("another recipient: %s", got)
	}
}

// What is not as SetEntry writes it denies nobody, and what it replaces is gone.
func TestEntriesThatCannotBeRead(t *testing.T) {
	state := newBucketState()
	state.set(key(denyKeys, "net:192.0.2.0/24"), []byte(`{"code":550}`), true)
	for _, entry := range [][2]string{{"net:192.0.2.1/24", `{"code":550}`}, {"helo:mail.spam.example", `{"code":250}`}, {"domain:*.spam.example", `550`}, {"nonsense", `{"code":550}`},
		{"from:<>", `{"code":550,"text":"two\r\nlines"}`}, {"net:192.0.2.0/24", `no longer JSON`}} {
		state.set(key(denyKeys, entry[0]), []byte(entry[1]), true)
	}
	if set := state.freeze(); !set.lists.Empty() {
		t.Error("something is denied")
	}
}

func TestEntriesAreListed(t *testing.T) {
	b := startBroker(t)
	kv := b.create()
	until := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	for _, e := range []ListEntry{{Name: "net:192.0.2.1", Code: 450, Expires: until}, {Name: "domain:spam.example", Code: 550, Text: "No"}} {
		_, err := SetEntry(t.Context(), kv, false, e)
		try(t, "adding", err)
	}
	list, err := ListEntries(t.Context(), kv, false)
	if err != nil || len(list) != 2 || list[0] != (ListEntry{"domain:spam.example", 550, "No", time.Time{}}) || list[1] != (ListEntry{"net:192.0.2.1/32", 450, "", until}) {
		t.Errorf("the list is %+v, %v", list, err)
	}
	if list, err := ListEntries(t.Context(), kv, true); err != nil || len(list) != 0 {
		t.Errorf("the list of the allowed is %+v, %v", list, err)
	}
	if _, err := RemoveEntry(t.Context(), kv, true, "net:192.0.2.1"); !errors.Is(err, ErrNotListed) {
		t.Errorf("removing what is not there: %v", err)
	}
	for want, e := range map[string]ListEntry{"reply code 250": {Name: "net:192.0.2.1", Code: 250}, "printable": {Name: "net:192.0.2.1", Code: 550, Text: "a\r\nb"},
		"room for 400": {Name: "net:192.0.2.1", Code: 550, Text: strings.Repeat("x", 401)}} {
		if _, err := SetEntry(t.Context(), kv, false, e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// BenchmarkDenies is what the lists cost one RCPT, with one entry of each kind; see lists.BenchmarkMatch for many.
func BenchmarkDenies(b *testing.B) {
	p, err := New(Config{Domains: []string{"example.com"}})
	if err != nil {
		b.Fatal(err)
	}
	state := newBucketState()
	for _, name := range []string{"net:198.51.100.0/24", "helo:*.other.example", "from:x@other.example", "domain:*.other.example", "rcpt:bob@example.com"} {
		state.set(key(denyKeys, name), []byte(`{"code":550}`), true)
	}
	p.live.Store(state.freeze())
	b.ReportAllocs()
	for b.Loop() {
		if p.Denies(spammer(), "ann@example.com") != nil {
			b.Fatal("denied")
		}
	}
}
