package env

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Bytes is a size: 25MiB, 10GiB, 512KB, or a plain number of bytes.
type Bytes int64

// units from large to small, binary before decimal, so that String finds the shortest exact form.
var units = [...]struct {
	name string
	size int64
}{
	{"TiB", 1 << 40}, {"TB", 1e12}, {"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"KB", 1e3}, {"B", 1},
}

// Decode implements envconfig.Decoder. A bare K, M or G is refused: some programs read it as 1000, others as 1024.
func (b *Bytes) Decode(value string) error {
	digits := strings.TrimRight(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
	suffix := strings.TrimSpace(value[len(digits):])
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 {
		return errors.New("is not a size")
	}
	factor := int64(0)
	for _, u := range units {
		if strings.EqualFold(suffix, u.name) || (suffix == "" && u.size == 1) {
			factor = u.size
		}
	}
	switch {
	case factor == 0:
		return fmt.Errorf("has the unknown unit %s", suffix)
	case n > math.MaxInt64/factor:
		return errors.New("is too large")
	}
	*b = Bytes(n * factor)
	return nil
}

// String is the shortest exact form.
func (b Bytes) String() string {
	for _, u := range units {
		if b != 0 && int64(b)%u.size == 0 && u.size > 1 {
			return strconv.FormatInt(int64(b)/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// Allowed says what a size looks like.
func (*Bytes) Allowed() string { return "a size such as 25MiB, 10GiB, 512KB or a number of bytes" }

// List is a comma-separated list; spaces around entries and empty entries are dropped.
type List []string

// Decode implements envconfig.Decoder.
func (l *List) Decode(value string) error {
	*l = split(value)
	return nil
}

// String joins the list as it is written.
func (l List) String() string { return strings.Join(l, ",") }

// Allowed says what a list looks like.
func (*List) Allowed() string { return "a list separated by commas" }

func split(value string) []string {
	var out []string
	for entry := range strings.SplitSeq(value, ",") {
		if entry = strings.TrimSpace(entry); entry != "" {
			out = append(out, entry)
		}
	}
	return out
}

// Addr is an address to listen on or to connect to: host:port, :port, or empty for off.
type Addr string

// Decode implements envconfig.Decoder.
func (a *Addr) Decode(value string) error {
	if value == "off" || value == "none" {
		*a = ""
		return nil
	}
	if err := checkAddr(value); err != nil {
		return err
	}
	*a = Addr(value)
	return nil
}

// Allowed says what an address looks like.
func (*Addr) Allowed() string { return "host:port or :port, or off" }

func checkAddr(value string) error {
	_, port, err := net.SplitHostPort(value)
	if err != nil {
		return errors.New("is not host:port")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > math.MaxUint16 {
		return errors.New("has no port from 0 to 65535")
	}
	return nil
}

// Addrs is a comma-separated list of host:port, or off for none.
type Addrs []string

// Decode implements envconfig.Decoder.
func (a *Addrs) Decode(value string) error {
	list := split(value)
	if value == "off" || value == "none" {
		list = nil
	}
	for _, entry := range list {
		if err := checkAddr(entry); err != nil {
			return fmt.Errorf("has the entry %s, which %w", Redact(entry), err)
		}
	}
	*a = list
	return nil
}

// String joins the list as it is written.
func (a Addrs) String() string { return strings.Join(a, ",") }

// Allowed says what a list of addresses looks like.
func (*Addrs) Allowed() string { return "host:port, several separated by commas" }

// CIDRs is a comma-separated list of networks; a single address is a network of one, "loopback" and "private" stand
// for the ranges of that kind, "none" for no network.
type CIDRs []netip.Prefix

// Decode implements envconfig.Decoder.
func (c *CIDRs) Decode(value string) error {
	*c = nil
	for _, entry := range split(value) {
		switch entry {
		case "none":
		case "loopback":
			*c = append(*c, netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"))
		case "private": // RFC 1918, RFC 4193
			*c = append(*c, netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"),
				netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("fc00::/7"))
		default:
			p, err := parsePrefix(entry)
			if err != nil {
				return err
			}
			*c = append(*c, p)
		}
	}
	return nil
}

func parsePrefix(entry string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(entry); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(entry)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("has the entry %s, which is not a network", Redact(entry))
	}
	return p.Masked(), nil
}

// String joins the list as it is written.
func (c CIDRs) String() string {
	texts := make([]string, len(c))
	for i, p := range c {
		texts[i] = p.String()
	}
	return strings.Join(texts, ",")
}

// Allowed says what a list of networks looks like.
func (*CIDRs) Allowed() string {
	return "networks such as 10.0.0.0/8 or 2001:db8::/32, separated by commas; also loopback, private, none"
}
