package policy

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"github.com/sluice-mail/sluice/pkg/smtp"
)

// maxMailbox is what the database's column holds: 64 + "@" + 255 (RFC 5321 section 4.5.3.1), in bytes after
// normalisation.
const maxMailbox = 320

// NormaliseDomain returns the one form of a domain that we compare and store: lower case, A-labels (RFC 5890), no dot
// at the end. The full stops of other scripts count as dots (UTS 46), as they do for everybody who looks the domain up.
// The error is ErrAddress.
func NormaliseDomain(domain string) (string, error) {
	if !utf8.ValidString(domain) {
		return "", ErrAddress
	}
	if domain = strings.TrimSuffix(domain, "."); !isASCII(domain) || hasALabel(domain) {
		ascii, err := lookupProfile().ToASCII(domain)
		if err != nil {
			return "", ErrAddress
		}
		domain = strings.TrimSuffix(ascii, ".")
	}
	domain = strings.ToLower(domain)
	if !smtp.ValidDomain(domain) {
		return "", ErrAddress
	}
	return domain, nil
}

// lookupProfile is UTS 46 as a resolver applies it, but without its rules on ASCII characters: names with underscores
// or with hyphens in the third and fourth place exist, and smtp.ValidDomain looks at the result anyway.
func lookupProfile() *idna.Profile {
	return idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.StrictDomainName(false), idna.CheckHyphens(false))
}

// hasALabel: such a label may be written in upper case or be no punycode at all; the profile finds out which.
func hasALabel(domain string) bool {
	return strings.Contains(strings.ToLower(domain), "xn--")
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// NormaliseLocal returns the one form of a local part (without quotes): NFC, lower case. RFC 5321 section 2.4 leaves
// the meaning of case to the receiver; nobody expects Ann and ann to be two people.
//
// "%", "!" and "@" were once used to route mail through a server to another one (RFC 5321 section 3.6.1, appendix C). Today they are
// used to search for open relays: ErrRelay.
func NormaliseLocal(local string) (string, error) {
	if local == "" || !utf8.ValidString(local) {
		return "", ErrAddress
	}
	if strings.ContainsAny(local, "%!@") {
		return "", ErrRelay
	}
	// Lower case can undo NFC.
	local = norm.NFC.String(strings.ToLower(norm.NFC.String(local)))
	for _, r := range local {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return "", ErrAddress
		}
	}
	return local, nil
}

// Normalise returns the one form of a whole address, as Resolve would find it with no primary domain set.
func Normalise(address string) (string, error) {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return "", ErrAddress
	}
	local, err := NormaliseLocal(address[:at])
	if err != nil {
		return "", err
	}
	domain, err := NormaliseDomain(address[at+1:])
	if err != nil {
		return "", err
	}
	return join(local, domain)
}

func join(local, domain string) (string, error) {
	if len(local)+1+len(domain) > maxMailbox {
		return "", ErrAddress
	}
	return local + "@" + domain, nil
}
