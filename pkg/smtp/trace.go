package smtp

import (
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"

	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// TraceHeaders renders the header fields of final delivery for one recipient: Return-Path, Delivered-To and
// Received (RFC 5321 section 4.4). They are not part of the stored mail, which stays as it was sent; they are added
// before it when it is shown.
//
// Text in them that a client chose is reduced to harmless characters, so that it can add neither a header
// field nor a line.
func TraceHeaders(env *mailv1.Envelope, recipient string) []byte {
	var f folder
	f.begin("Return-Path:")
	f.word("<" + safeAddress(env.GetMailFrom()) + ">")
	f.begin("Delivered-To:")
	f.word(safeAddress(recipient))
	f.begin("Received:")
	f.word("from " + safeName(env.GetHelo()))
	f.word("(" + clientAddress(env.GetClient()) + ")")
	f.word("by " + safeName(env.GetIngress()))
	f.word("with " + safeName(env.GetProtocol()))
	if t := env.GetTls(); t != nil {
		f.word("(" + safeName(t.GetVersion()) + " " + safeName(t.GetCipher()) + ")")
	}
	if id, err := ulidOf(env); err == nil {
		f.word("id " + id)
	}
	// RFC 5321 section 7.2: with several recipients the clause would tell one about the others.
	if r := env.GetRecipients(); len(r) == 1 {
		f.word("for <" + safeAddress(r[0].GetMailbox()) + ">")
	}
	f.glue(";")
	f.word(time.UnixMilli(env.GetReceivedAt()).UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	return f.end()
}

func ulidOf(env *mailv1.Envelope) (string, error) {
	var id ulid.ULID
	if err := id.UnmarshalBinary(env.GetId()); err != nil {
		return "", err
	}
	return id.String(), nil
}

// clientAddress is the address literal of RFC 5321 section 4.1.3.
func clientAddress(e *mailv1.Endpoint) string {
	ip, ok := netip.AddrFromSlice(e.GetIp())
	switch {
	case !ok:
		return "unknown"
	case ip.Is6():
		return "[IPv6:" + ip.String() + "]"
	}
	return "[" + ip.String() + "]"
}

// safeName keeps what host names, address literals and protocol names are made of. Nothing else gets into a
// header: no space, no parenthesis, no semicolon.
func safeName(s string) string {
	if s == "" {
		return "unknown"
	}
	return strings.Map(func(r rune) rune {
		if r < 0x80 && isAlnum(byte(r)) || strings.ContainsRune(".:[]_-", r) {
			return r
		}
		return '?'
	}, s)
}

// safeAddress keeps a mailbox readable but on one line and inside its angle brackets.
func safeAddress(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError, unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == '<', r == '>':
			return '?'
		case r != ' ' && unicode.IsSpace(r):
			return '?'
		}
		return r
	}, s)
}

// foldAt is the line length wanted by RFC 5322 section 2.1.1.
const foldAt = 78

// folder writes header fields and breaks lines between words.
type folder struct {
	out    []byte
	column int
}

func (f *folder) begin(name string) {
	if len(f.out) > 0 {
		f.out = append(f.out, '\r', '\n')
	}
	f.out = append(f.out, name...)
	f.column = len(name)
}

func (f *folder) word(w string) {
	if f.column+1+len(w) > foldAt && f.out[len(f.out)-1] != ':' {
		f.out = append(f.out, "\r\n\t"...)
		f.column = 8
	} else {
		f.out = append(f.out, ' ')
		f.column++
	}
	f.glue(w)
}

func (f *folder) glue(w string) {
	f.out = append(f.out, w...)
	f.column += len(w)
}

func (f *folder) end() []byte { return append(f.out, '\r', '\n') }
