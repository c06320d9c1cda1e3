package smtp

import (
	"errors"
	"net/netip"
	"strings"
	"unicode"
)

// maxMailbox is the longest mailbox we take: the 256 of RFC 5321 section 4.5.3.1.3 less the angle brackets. The
// limit of 64 for the local part is not enforced: real senders exceed it (VERP), and Postfix lets them.
const maxMailbox = 254

var (
	errPath   = errors.New("not a path")
	errDomain = errors.New("not a domain")
	errLocal  = errors.New("not a local part")
	errLength = errors.New("too long")
)

// address is a mailbox of RFC 5321 section 4.1.2, or the empty reverse-path.
type address struct {
	local  string // without quotes and backslashes
	domain string // as given; an address literal keeps its brackets
	given  string // the mailbox as the client wrote it, without source route
	utf8   bool   // has non-ASCII characters (RFC 6531)
}

// String is the mailbox, quoted only where it must be.
func (a address) String() string {
	local := a.local
	if a.domain == "" {
		return local
	}
	if needsQuotes(local) {
		local = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"`
	}
	return local + "@" + a.domain
}

func needsQuotes(local string) bool {
	if local == "" {
		return true
	}
	for i := 0; i < len(local); i++ {
		if !isAtext(local[i]) && local[i] != '.' {
			return true
		}
	}
	return false
}

// parsePath splits "<path> params" and parses the path. Being liberal (RFC 1123 section 5.2.18): the angle
// brackets may be missing, a source route is stripped (RFC 5321 appendix C), dots may stand anywhere in the
// local part.
func parsePath(arg string) (a address, params string, err error) {
	path := arg
	if strings.HasPrefix(arg, "<") {
		end := closingBracket(arg)
		if end < 0 {
			return a, "", errPath
		}
		path, params = arg[1:end], arg[end+1:]
		if params != "" && params[0] != ' ' {
			return a, "", errPath
		}
	} else {
		path, params, _ = strings.Cut(arg, " ")
		if path == "" || strings.ContainsAny(path, "<>") {
			return a, "", errPath
		}
	}
	path, err = stripRoute(path)
	if err != nil || path == "" {
		return a, params, err
	}
	a, err = parseMailbox(path)
	return a, params, err
}

// closingBracket finds the ">" that closes the "<" arg begins with; quoted strings may contain one.
func closingBracket(arg string) int {
	quoted := false
	for i := 1; i < len(arg); i++ {
		switch c := arg[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '>' && !quoted:
			return i
		case c == '<' && !quoted:
			return -1
		}
	}
	return -1
}

// stripRoute removes "@a,@b:". We would never use it: to relay by it is what an open relay does.
func stripRoute(path string) (string, error) {
	if !strings.HasPrefix(path, "@") {
		return path, nil
	}
	route, rest, found := strings.Cut(path, ":")
	if !found || rest == "" {
		return "", errPath
	}
	for hop := range strings.SplitSeq(route, ",") {
		if !strings.HasPrefix(hop, "@") || checkDomain(hop[1:]) != nil {
			return "", errDomain
		}
	}
	return rest, nil
}

func parseMailbox(s string) (address, error) {
	a := address{given: s}
	if len(s) > maxMailbox {
		return a, errLength
	}
	for _, r := range s {
		if r >= 0x80 {
			a.utf8 = true
			if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || unicode.IsSpace(r) {
				return a, errPath
			}
		}
	}
	rest, err := a.takeLocal(s)
	if err != nil || rest == "" {
		return a, err
	}
	a.domain = rest[1:]
	return a, checkDomain(a.domain)
}

// takeLocal parses the local part and returns the rest, which is empty or begins with "@".
func (a *address) takeLocal(s string) (rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		return a.takeQuoted(s)
	}
	i := 0
	for i < len(s) && (isAtext(s[i]) || s[i] == '.') {
		i++
	}
	if i == 0 || i < len(s) && s[i] != '@' {
		return "", errLocal
	}
	a.local = s[:i]
	return s[i:], nil
}

func (a *address) takeQuoted(s string) (rest string, err error) {
	var local strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			rest = s[i+1:]
			if !strings.HasPrefix(rest, "@") {
				return "", errLocal
			}
			a.local = local.String()
			return rest, nil
		case '\\':
			i++
			if i == len(s) || s[i] >= 0x80 {
				return "", errLocal
			}
		}
		if isControl(s[i]) {
			return "", errLocal
		}
		local.WriteByte(s[i])
	}
	return "", errLocal
}

// checkDomain takes an address literal, or a domain with at most one dot at its end, which exists. What the name means
// is the business of Recipients.
func checkDomain(d string) error {
	if strings.HasPrefix(d, "[") {
		return checkLiteral(d)
	}
	if !ValidDomain(strings.TrimSuffix(d, ".")) {
		return errDomain
	}
	return nil
}

// ValidDomain checks the form of a domain without a dot at its end: letters, digits, hyphens inside labels, underscores,
// non-ASCII characters. The lengths are those of DNS (RFC 1035 section 2.3.4); the length of a Unicode label is checked where it is
// converted to ASCII. A numeric last label is an IPv4 address without its brackets (RFC 3696 section 2).
func ValidDomain(domain string) bool {
	const maxDomain, maxLabel = 253, 63
	ascii, numeric := true, false
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		numeric = isDigits(label)
		for i := 0; i < len(label); i++ {
			c := label[i]
			if c < 0x80 && c != '-' && c != '_' && !isAlnum(c) {
				return false
			}
			ascii = ascii && c < 0x80
		}
		if ascii && len(label) > maxLabel {
			return false
		}
	}
	return !numeric && (!ascii || len(domain) <= maxDomain)
}

// checkLiteral checks "[192.0.2.1]" and "[IPv6:2001:db8::1]" (RFC 5321 section 4.1.3).
func checkLiteral(d string) error {
	inner, ok := strings.CutSuffix(d[1:], "]")
	if !ok {
		return errDomain
	}
	const tag = "ipv6:"
	v6 := len(inner) > len(tag) && strings.EqualFold(inner[:len(tag)], tag)
	if v6 {
		inner = inner[len(tag):]
	}
	ip, err := netip.ParseAddr(inner)
	if err != nil || ip.Zone() != "" || ip.Is4() == v6 {
		return errDomain
	}
	return nil
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// isAtext is atext of RFC 5322 section 3.2.3, and non-ASCII (RFC 6531 section 3.3).
func isAtext(c byte) bool {
	return isAlnum(c) || c >= 0x80 || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

func isControl(c byte) bool { return c < ' ' || c == 0x7f }
