package smtp

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// parseXClient parses the arguments of XCLIENT (https://www.postfix.org/XCLIENT_README.html) and returns client
// with ADDR and PORT replaced. The other attributes have values that Sluice does not record or finds out itself. They are not
// offered; if a proxy sends them nevertheless, they are checked and ignored.
func parseXClient(arg string, client netip.AddrPort) (netip.AddrPort, error) {
	if arg == "" {
		return client, errors.New("no attributes")
	}
	addr, port := client.Addr(), client.Port()
	for field := range strings.SplitSeq(arg, " ") {
		if field == "" {
			continue
		}
		name, text, found := strings.Cut(field, "=")
		if !found {
			return client, errors.New("attribute without value")
		}
		value, err := decodeXText(text)
		if err != nil {
			return client, err
		}
		unknown := value == "[UNAVAILABLE]" || value == "[TEMPUNAVAIL]"
		switch name = strings.ToUpper(name); {
		case name == "ADDR" && !unknown:
			if addr, err = parseXClientAddr(value); err != nil {
				return client, err
			}
		case name == "PORT" && !unknown:
			n, err := strconv.ParseUint(value, 10, 16)
			if err != nil {
				return client, errors.New("bad PORT")
			}
			port = uint16(n)
		case name == "ADDR", name == "PORT", name == "NAME", name == "HELO", name == "PROTO", name == "LOGIN",
			name == "DESTADDR", name == "DESTPORT", name == "REVERSE_NAME":
		default:
			return client, errors.New("unknown attribute")
		}
	}
	return netip.AddrPortFrom(addr, port), nil
}

// parseXClientAddr parses "192.0.2.1" or "IPV6:2001:db8::1".
func parseXClientAddr(value string) (netip.Addr, error) {
	const tag = "IPV6:"
	if len(value) > len(tag) && strings.EqualFold(value[:len(tag)], tag) {
		value = value[len(tag):]
	}
	addr, err := netip.ParseAddr(value)
	if err != nil || addr.Zone() != "" {
		return addr, errors.New("bad ADDR")
	}
	return addr.Unmap(), nil
}

// decodeXText decodes xtext (RFC 3461 section 4): "+" and two hexadecimal digits stand for one byte.
func decodeXText(s string) (string, error) {
	if !strings.Contains(s, "+") {
		return s, nil
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '+' {
			out.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", errors.New("bad xtext")
		}
		n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", errors.New("bad xtext")
		}
		out.WriteByte(byte(n))
		i += 2
	}
	return out.String(), nil
}
