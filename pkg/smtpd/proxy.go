package smtpd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// The PROXY protocol, versions 1 and 2, receiving side
// (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt).

const (
	proxyV1Max = 107  // section 2.1: the longest line including CRLF
	proxyV2Max = 4096 // section 2.2 asks for 536 at least; a certificate or a cloud's TLVs need more
	proxyV2Sig = "\r\n\r\n\x00\r\nQUIT\n"
)

var (
	// errProxyShort asks for more input.
	errProxyShort = errors.New("incomplete PROXY header")
	errProxyBad   = errors.New("malformed PROXY header")
	// errProxyUntrusted is most likely a mistake in our configuration, and then of every connection.
	errProxyUntrusted = errors.New("PROXY protocol is required and this address is not among the trusted proxies")
)

// proxyHeader is what a load balancer said about a connection.
type proxyHeader struct {
	// local is a connection the proxy made for itself (v2 LOCAL, v1 UNKNOWN): a health check.
	local bool
	// source is the client; the zero value when local, or when the family is not IP.
	source netip.AddrPort
}

// parseProxy reads one header from the start of in. It returns how many bytes it was, errProxyShort when in may
// be the beginning of one, or errProxyBad.
func parseProxy(in []byte) (h proxyHeader, n int, err error) {
	switch {
	case len(in) == 0:
		return h, 0, errProxyShort
	case in[0] == proxyV2Sig[0]:
		return parseProxyV2(in)
	default:
		return parseProxyV1(in)
	}
}

func parseProxyV1(in []byte) (proxyHeader, int, error) {
	const prefix = "PROXY "
	if k := min(len(in), len(prefix)); string(in[:k]) != prefix[:k] {
		return proxyHeader{}, 0, errProxyBad
	}
	window := in[:min(len(in), proxyV1Max)]
	end := bytes.Index(window, []byte("\r\n"))
	if end < 0 {
		if len(in) >= proxyV1Max {
			return proxyHeader{}, 0, errProxyBad
		}
		return proxyHeader{}, 0, errProxyShort
	}
	h, err := parseProxyV1Line(string(in[:end]))
	if err != nil {
		return proxyHeader{}, 0, err
	}
	return h, end + 2, nil
}

// parseProxyV1Line parses "PROXY TCP4 source destination sport dport"; exactly one space between fields.
func parseProxyV1Line(line string) (proxyHeader, error) {
	f := strings.Split(line, " ")
	if len(f) >= 2 && f[1] == "UNKNOWN" {
		return proxyHeader{local: true}, nil // section 2.1: anything after UNKNOWN is ignored
	}
	if len(f) != 6 || (f[1] != "TCP4" && f[1] != "TCP6") {
		return proxyHeader{}, errProxyBad
	}
	src, ok1 := proxyAddr(f[2], f[4], f[1] == "TCP6")
	_, ok2 := proxyAddr(f[3], f[5], f[1] == "TCP6")
	if !ok1 || !ok2 {
		return proxyHeader{}, errProxyBad
	}
	return proxyHeader{source: src}, nil
}

func proxyAddr(host, port string, v6 bool) (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(host)
	if err != nil || a.Zone() != "" || a.Is4() == v6 {
		return netip.AddrPort{}, false
	}
	// No leading zeros, no sign: one spelling per port.
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(p, 10) != port {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), true
}

func parseProxyV2(in []byte) (proxyHeader, int, error) {
	if k := min(len(in), len(proxyV2Sig)); string(in[:k]) != proxyV2Sig[:k] {
		return proxyHeader{}, 0, errProxyBad
	}
	if len(in) < 16 {
		return proxyHeader{}, 0, errProxyShort
	}
	version, command := in[12]>>4, in[12]&15
	family := in[13]
	n := 16 + int(binary.BigEndian.Uint16(in[14:16]))
	if version != 2 || command > 1 || n > proxyV2Max {
		return proxyHeader{}, 0, errProxyBad
	}
	if len(in) < n {
		return proxyHeader{}, 0, errProxyShort
	}
	if command == 0 {
		return proxyHeader{local: true}, n, nil // section 2.2: the address block of LOCAL must be skipped
	}
	h, err := parseProxyV2Addr(family, in[16:n])
	if err != nil {
		return proxyHeader{}, 0, err
	}
	return h, n, nil
}

// parseProxyV2Addr reads the address block; TLVs behind it are skipped.
func parseProxyV2Addr(family byte, block []byte) (proxyHeader, error) {
	size := 4
	switch family {
	case 0x11: // TCP over IPv4
	case 0x21: // TCP over IPv6
		size = 16
	case 0x00, 0x31: // unspecified, unix stream: no client address, like UNKNOWN
		return proxyHeader{local: true}, nil
	default: // datagrams, which cannot carry SMTP, and what section 2.2 says must be rejected
		return proxyHeader{}, errProxyBad
	}
	if len(block) < 2*size+4 {
		return proxyHeader{}, errProxyBad
	}
	a, _ := netip.AddrFromSlice(block[:size])
	return proxyHeader{source: netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(block[2*size:]))}, nil
}
