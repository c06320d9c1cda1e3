package smtp

import (
	"strings"
	"testing"

	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// TestParsePath: what is accepted, in its canonical form (RFC 5321 section 4.1.2).
func TestParsePath(t *testing.T) {
	for _, c := range []struct{ arg, want, params string }{
		{"<a@b.example>", "a@b.example", ""},
		{"<>", "", ""},
		{"<> SIZE=1 BODY=7BIT", "", " SIZE=1 BODY=7BIT"},
		{"a@b.example X=Y", "a@b.example", "X=Y"},
		{`<"a"@b.example>`, "a@b.example", ""},
		{`<"a b"@b.example>`, `"a b"@b.example`, ""},
		{`<"\a\ b"@b.example>`, `"a b"@b.example`, ""},
		{`<"a\"b\\"@b.example>`, `"a\"b\\"@b.example`, ""},
		{`<""@b.example>`, `""@b.example`, ""},
		{`<"a>b"@b.example>`, `"a>b"@b.example`, ""},
		{`<"a@x"@b.example>`, `"a@x"@b.example`, ""},
		{"<@x.example,@y.example:a@b.example>", "a@b.example", ""},
		{"<a..b.@b.example.>", "a..b.@b.example.", ""},
		{"<a+b=c@b_c.example>", "a+b=c@b_c.example", ""},
		{"<a@[192.0.2.1]>", "a@[192.0.2.1]", ""},
		{"<a@[ipv6:2001:db8::1]>", "a@[ipv6:2001:db8::1]", ""},
		{"<Postmaster>", "Postmaster", ""},
		{"<\u7532@b\u00fccher.example>", "\u7532@b\u00fccher.example", ""},
	} {
		a, params, err := parsePath(c.arg)
		if err != nil || a.String() != c.want || params != c.params {
			t.Errorf("%s: got %s, params %q, %v", c.arg, a, params, err)
		}
	}
}

func TestParsePathRefuses(t *testing.T) {
	for _, arg := range []string{
		"", "<", "<a@b", "<<a@b>>", "<a@b>>", "<a@b>x", "<a>b@c>", "<a@>", "<@b>", "<@b:>", "<@b,c:a@d>", "<@:a@b>", "<a@b@c>", "<a b@c>",
		"<a,b@c>", `<"a@b>`, `<"a"b@c>`, `<"a">`, `<"a\"@c>`, "<\"a\u00ff\\\u00ff\"@c>", "<a@.b>", "<a@b..c>", "<a@b c>", "<a@b/c>", "<a@[1.2.3]>",
		"<a@[192.0.2.1>", "<a@[::1]>", "<a@[IPv6:192.0.2.1]>", "<a@[IPv6:fe80::1%eth0]>", "<a@[]>", "<a\u202eb@c>", "<a\u0085@c>", "<a\u00a0@c>",
		"<" + strings.Repeat("a", 253) + "@b>", "<a@" + strings.Repeat("b", 253) + ">", "(a)@b", "<a:b@c>",
	} {
		if a, _, err := parsePath(arg); err == nil {
			t.Errorf("%s: accepted as %+v", arg, a)
		}
	}
}

func TestParseMailParams(t *testing.T) {
	m, refused := parseMailParams(" size=12  body=8bitmime SMTPUTF8", true)
	if refused.Code != 0 || m.size != 12 || m.body != mailv1.BodyType_BODY_TYPE_8BITMIME || !m.utf8 {
		t.Errorf("got %+v, %v", m, refused)
	}
	for params, want := range map[string]int{
		"SIZE": 501, "SIZE=": 501, "SIZE=-1": 501, "SIZE=+1": 501, "SIZE=123456789012345678901": 501, "SIZE=1 size=1": 501, "=1": 501, "-X=1": 501,
		"A=b=c": 501, "BODY=BINARYMIME": 555, "BODY": 555, "SMTPUTF8=1": 501, "AUTH=<>": 555, "X": 555, strings.Repeat("X ", 40): 501,
	} {
		if _, refused := parseMailParams(params, true); refused.Code != want {
			t.Errorf("%s: got %v, want %d", params, refused, want)
		}
	}
	if m, refused := parseMailParams("SIZE=99999999999999999999", true); refused.Code != 0 || m.size != maxInt64 {
		t.Errorf("got %+v, %v", m, refused)
	}
}

// A sender nobody can answer is refused as the same recipient is: a name that is no domain, or none at all. (Only a
// recipient may go without: RCPT TO:<postmaster>.)
func TestMailRefusesWhatIsNoAddress(t *testing.T) {
	for _, from := range []string{"pepe", "postmaster", "a@-b.example", "a@b-.example", "a@xn---", "a@192.0.2.1", "a@b.example." + strings.Repeat("b", 64)} {
		p := greeted(testConfig())
		p.say("EHLO client.example\r\n")
		if got := p.say("MAIL FROM:<" + from + ">\r\n"); !strings.HasPrefix(got, "501 5.1.7") {
			t.Errorf("%s: %q", from, got)
		}
		p.say("MAIL FROM:<>\r\n")
		if got := p.say("RCPT TO:<" + from + ">\r\n"); from != "postmaster" && !strings.HasPrefix(got, "501 5.1.3") {
			t.Errorf("%s as recipient: %q", from, got)
		}
	}
}
