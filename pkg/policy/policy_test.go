package policy

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newPolicy(t *testing.T, cfg Config) *Policy {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// rcpt asks about an address as it stands between < and >.
func rcpt(p *Policy, address string) (string, error) {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return p.Resolve(address, "", true)
	}
	return p.Resolve(address[:at], address[at+1:], true)
}

func expect(t *testing.T, p *Policy, address, mailbox string, refusal error) {
	t.Helper()
	got, err := rcpt(p, address)
	if got != mailbox || err != refusal {
		t.Errorf("<%s>: %q, %v; want %q, %v", address, got, err, mailbox, refusal)
	}
}

// TestFirstAllowedDomainIsAccepted: the PHP ancestor looked its domains up with a test that took index 0 for "not
// found", and so refused the first one.
func TestFirstAllowedDomainIsAccepted(t *testing.T) {
	for _, list := range [][]string{{"first.example"}, {"first.example", "second.example"}, {"*.first.example", "second.example"}} {
		p := newPolicy(t, Config{Domains: list})
		domain := strings.Replace(list[0], "*", "sub", 1)
		expect(t, p, "user@"+domain, "user@"+domain, nil)
	}
}

func TestDomains(t *testing.T) {
	p := newPolicy(t, Config{Domains: []string{"Example.COM", "*.example.net", "münchen.example", " with-space.example "}})
	for address, mailbox := range map[string]string{
		"ann@example.com":                         "ann@example.com",
		"Ann.Smith@EXAMPLE.com":                   "ann.smith@example.com",
		"ann@example.com.":                        "ann@example.com",
		"ann@example\u3002com":                    "ann@example.com", // ideographic full stop
		"ann@example\uff0ecom\uff61":              "ann@example.com", // fullwidth and halfwidth ones
		"ann@\uff25xample.com":                    "ann@example.com", // fullwidth letter
		"ann@a.example.net":                       "ann@a.example.net",
		"ann@a.b.c.example.net":                   "ann@a.b.c.example.net",
		"ann@_dmarc.example.net":                  "ann@_dmarc.example.net",
		"ann@xn--mnchen-3ya.example":              "ann@xn--mnchen-3ya.example",
		"ann@XN--MNCHEN-3YA.example":              "ann@xn--mnchen-3ya.example",
		"ann@MÜNCHEN.example":                     "ann@xn--mnchen-3ya.example",
		"ann@mu\u0308nchen.example":               "ann@xn--mnchen-3ya.example", // u and diaeresis
		"jose\u0301@example.com":                  "jos\u00e9@example.com",
		"JOS\u00c9@example.com":                   "jos\u00e9@example.com",
		"a b\"c@example.com":                      "a b\"c@example.com", // was quoted
		"a..b@example.com":                        "a..b@example.com",
		strings.Repeat("l", 256) + "@example.com": strings.Repeat("l", 256) + "@example.com",
	} {
		expect(t, p, address, mailbox, nil)
	}
	for _, address := range []string{
		"ann@example.org", "ann@example.net", "ann@badexample.net", "ann@sub.example.com", "ann@com", "ann@example.com.evil.example",
		"ann@xexample.com", "ann@munchen.example",
	} {
		expect(t, p, address, "", ErrRelay)
	}
	for _, address := range []string{
		"ann@example..com", "ann@.example.com", "ann@-a.example.net", "ann@a-.example.net", "ann@exa mple.com", "ann@example.com..",
		"ann@ex\x00ample.com", "ann@xn--\u00fc.example", "ann@xn--zz99999.example", "ann@127.0.0.1", "ann@" + strings.Repeat("a", 64) + ".example.net",
		"ann@" + strings.Repeat("a.", 130) + "example.net", "@example.com", "an\x00n@example.com", "an\r\nn@example.com", "an\x7fn@example.com",
		"an\u0085n@example.com", "an\u202en@example.com", "an\xffn@example.com", "ann@exam\xffple.com", "ann@/example.com", "ann@ex\ufe6bample.com",
		strings.Repeat("l", 257) + "@example.com", strings.Repeat("l", 250) + "@" + strings.Repeat("a.", 60) + "example.net",
	} {
		expect(t, p, address, "", ErrAddress)
	}
}

// TestRelayTricks: every way that once led mail through a server to another one ends in 550 5.7.1.
func TestRelayTricks(t *testing.T) {
	for _, domains := range [][]string{{"example.com"}, {"*"}} {
		p := newPolicy(t, Config{Domains: domains})
		for _, address := range []string{
			"a%other.example@example.com", "other.example!a@example.com", "@example.com:a@other.example@example.com",
			"a@other.example@example.com", "a%b%c@example.com", "user@[192.0.2.1]", "user@[IPv6:2001:db8::1]",
		} {
			expect(t, p, address, "", ErrRelay)
		}
	}
}

func TestAnyDomain(t *testing.T) {
	p := newPolicy(t, Config{Domains: []string{"*"}, Hostname: "MX.example.com"})
	expect(t, p, "ann@whatever.example", "ann@whatever.example", nil)
	expect(t, p, "ann@localhost", "ann@localhost", nil)
	expect(t, p, "ann@192.0.2.1", "", ErrAddress)
	expect(t, p, "Postmaster", "postmaster@mx.example.com", nil)
}

func TestNonASCIINeedsSMTPUTF8(t *testing.T) {
	p := newPolicy(t, Config{Domains: []string{"*"}})
	for _, a := range [][2]string{{"jos\u00e9", "example.com"}, {"ann", "m\u00fcnchen.example"}} {
		if _, err := p.Resolve(a[0], a[1], false); err != ErrUTF8 {
			t.Errorf("%s@%s without SMTPUTF8: %v", a[0], a[1], err)
		}
	}
	if got, err := p.Resolve("ann", "xn--mnchen-3ya.example", false); err != nil || got != "ann@xn--mnchen-3ya.example" {
		t.Errorf("A-labels need no SMTPUTF8: %q, %v", got, err)
	}
}

// TestPostmasterIsAlwaysAccepted is RFC 5321 section 4.5.1.
func TestPostmasterIsAlwaysAccepted(t *testing.T) {
	for _, tc := range []struct {
		cfg     Config
		mailbox string
	}{
		{Config{Domains: []string{"*.wild.example", "example.com", "example.net"}, Hostname: "mx.example.org"}, "postmaster@example.com"},
		{Config{Domains: []string{"*.wild.example", "*"}, Hostname: "mx.example.org"}, "postmaster@mx.example.org"},
		{Config{Domains: []string{"example.com"}, PrimaryDomain: "Primary.example"}, "postmaster@primary.example"},
		{Config{Domains: []string{"*"}, Hostname: "not a name"}, "postmaster@localhost"},
		{Config{Domains: []string{"example.com"}, Mode: ModeKV}, "postmaster@example.com"},
	} {
		p := newPolicy(t, tc.cfg)
		for _, local := range []string{"postmaster", "Postmaster", "POSTMASTER"} {
			expect(t, p, local, tc.mailbox, nil)
		}
		expect(t, p, "ann", "", ErrAddress)
	}
	kv := newPolicy(t, Config{Domains: []string{"example.com", "example.net"}, Mode: ModeKV})
	kv.live.Store(newBucketState().freeze())
	expect(t, kv, "PostMaster@example.net", "postmaster@example.net", nil)
	expect(t, kv, "postmaster@other.example", "", ErrRelay)
}

func TestPrimaryDomain(t *testing.T) {
	p := newPolicy(t, Config{Domains: []string{"example.com", "*.example.net"}, PrimaryDomain: "main.example"})
	expect(t, p, "ann@example.com", "ann@main.example", nil)
	expect(t, p, "ann@x.example.net", "ann@main.example", nil)
	expect(t, p, "ann@other.example", "", ErrRelay)
	expect(t, p, "ann@main.example", "", ErrRelay) // only the list decides what is accepted
}

func TestOwnLiterals(t *testing.T) {
	p := newPolicy(t, Config{Domains: []string{"example.com"}, Literals: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}})
	for _, literal := range []string{"[192.0.2.1]", "[IPv6:2001:db8::1]", "[ipv6:2001:DB8:0::1]", "[IPv6:::ffff:192.0.2.1]"} {
		expect(t, p, "postmaster@"+literal, "postmaster@example.com", nil)
		expect(t, p, "ann@"+literal, "ann@example.com", nil)
	}
	expect(t, p, "ann@[192.0.2.2]", "", ErrRelay)
	for _, literal := range []string{"[192.0.2.1", "[]", "[", "[192.0.2]", "[IPv6:]", "[x]", "[IPv6:fe80::1%eth0]", "[192.0.2.1].example.com"} {
		expect(t, p, "ann@"+literal, "", ErrAddress)
	}
}

func TestRecipientsFromTheBucket(t *testing.T) {
	p := newPolicy(t, Config{Domains: []string{"example.com", "alias.example"}, PrimaryDomain: "main.example", Mode: ModeKV})
	expect(t, p, "ann@example.com", "", ErrUnavailable) // not knowable yet: the sender keeps the mail
	expect(t, p, "ann@other.example", "", ErrUnavailable)
	state := newBucketState()
	for _, k := range []string{key(recipientKeys, "ann@main.example"), key(recipientKeys, "bob@alias.example"), key(domainKeys, "*.live.example"),
		"rcpt.!!!", "rcpt", "rcpt.", "other.YQ", "", "domain"} {
		state.set(k, nil, true)
	}
	p.live.Store(state.freeze())
	expect(t, p, "ANN@example.com", "ann@main.example", nil)
	expect(t, p, "ann@alias.example", "ann@main.example", nil)
	expect(t, p, "ann@x.live.example", "ann@main.example", nil)
	expect(t, p, "bob@alias.example", "bob@main.example", nil) // listed under the alias: known there only
	expect(t, p, "bob@example.com", "", ErrUnknown)
	expect(t, p, "ann@other.example", "", ErrRelay)
	state.set(key(recipientKeys, "ann@main.example"), nil, false)
	expect(t, p, "ann@example.com", "ann@main.example", nil) // the set in force does not change under its readers
	p.live.Store(state.freeze())
	expect(t, p, "ann@example.com", "", ErrUnknown)
}

func TestDomainIsNotKnowableBeforeTheBucketIsRead(t *testing.T) {
	p := newPolicy(t, Config{Domains: []string{"example.com"}, Live: true})
	expect(t, p, "ann@example.com", "ann@example.com", nil)
	expect(t, p, "ann@other.example", "", ErrUnavailable)
	p.live.Store(newBucketState().freeze())
	expect(t, p, "ann@other.example", "", ErrRelay)
}

func TestNewNamesWhatIsWrong(t *testing.T) {
	for want, cfg := range map[string]Config{
		`accepted domains: "exa mple" is not a domain; allowed: example.com, *.example.com or *`: {Domains: []string{"example.com", "exa mple"}},
		`accepted domains: "a.*.b" is not a domain`:                                              {Domains: []string{"a.*.b"}},
		`accepted domains: "" is not a domain`:                                                   {Domains: []string{""}},
		`accepted domains: there are none`:                                                       {},
		`primary domain: "x@y" is not a domain`:                                                  {Domains: []string{"*"}, PrimaryDomain: "x@y"},
		`recipients mode "some" is unknown; allowed: any or kv`:                                  {Domains: []string{"*"}, Mode: "some"},
	} {
		if _, err := New(cfg); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestRefusalsAreReplies: the ingress turns them into SMTP replies by their fields.
func TestRefusalsAreReplies(t *testing.T) {
	for err, want := range map[error]string{
		ErrRelay: "550 5.7.1 ", ErrUnknown: "550 5.1.1 ", ErrUnavailable: "450 4.3.0 ", ErrAddress: "501 5.1.3 ", ErrUTF8: "553 5.6.7 ",
	} {
		var r *Refusal
		if !errors.As(err, &r) || !strings.HasPrefix(err.Error(), want) || r.Code/100 != int(r.Enhanced[0]-'0') {
			t.Errorf("%v is not %s", err, want)
		}
	}
}

// What follows a delimiter is the owner's own affair, unless there is such a mailbox.
func TestRecipientDelimiter(t *testing.T) {
	p := newPolicy(t, Config{Domains: []string{"example.com"}, Delimiters: "+-"})
	for local, mailbox := range map[string]string{"Ann+Lists": "ann", "ann-x+y": "ann", "ann+": "ann", "+x": "+x", "ann": "ann", "postmaster+x": "postmaster"} {
		expect(t, p, local+"@example.com", mailbox+"@example.com", nil)
	}
	off := newPolicy(t, Config{Domains: []string{"example.com"}})
	expect(t, off, "ann+x@example.com", "ann+x@example.com", nil)

	kv := newPolicy(t, Config{Domains: []string{"example.com", "alias.example"}, PrimaryDomain: "example.com", Mode: ModeKV, Delimiters: "+"})
	state := newBucketState()
	for _, known := range []string{"ann@example.com", "bob+work@example.com"} {
		state.set(key(recipientKeys, known), nil, true)
	}
	kv.live.Store(state.freeze())
	expect(t, kv, "ann+x@alias.example", "ann@example.com", nil)
	expect(t, kv, "bob+work@example.com", "bob+work@example.com", nil)
	expect(t, kv, "bob+x@example.com", "", ErrUnknown)
	if _, err := New(Config{Domains: []string{"*"}, Delimiters: "+x"}); err == nil {
		t.Error("a letter is a delimiter")
	}
}
