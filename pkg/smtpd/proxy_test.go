package smtpd

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// v2 builds a version 2 header.
func v2(command, family byte, addresses []byte) []byte {
	h := append([]byte(proxyV2Sig), 0x20|command, family)
	h = binary.BigEndian.AppendUint16(h, uint16(len(addresses)))
	return append(h, addresses...)
}

var (
	v2Addr4 = []byte{192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x34, 0, 25}
	v2Addr6 = append(append(netip.MustParseAddr("2001:db8::7").AsSlice(), netip.MustParseAddr("2001:db8::1").AsSlice()...), 0x12, 0x34, 0, 25)
)

func TestParseProxy(t *testing.T) {
	tests := map[string]struct {
		in     string
		source string // empty: local
		err    error
	}{
		"v1 TCP4":            {"PROXY TCP4 192.0.2.7 198.51.100.1 4660 25\r\n", "192.0.2.7:4660", nil},
		"v1 TCP6":            {"PROXY TCP6 2001:db8::7 2001:db8::1 4660 25\r\n", "[2001:db8::7]:4660", nil},
		"v1 unknown":         {"PROXY UNKNOWN\r\n", "", nil},
		"v1 unknown, more":   {"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", "", nil},
		"v1 half":            {"PROXY TCP4 192.0.2.7", "", errProxyShort},
		"v1 one byte":        {"P", "", errProxyShort},
		"v1 107 without end": {"PROXY UNKNOWN " + strings.Repeat("x", 93), "", errProxyBad},
		"v1 two spaces":      {"PROXY  TCP4 192.0.2.7 198.51.100.1 4660 25\r\n", "", errProxyBad},
		"v1 families differ": {"PROXY TCP4 2001:db8::7 198.51.100.1 4660 25\r\n", "", errProxyBad},
		"v1 port too large":  {"PROXY TCP4 192.0.2.7 198.51.100.1 65536 25\r\n", "", errProxyBad},
		"v1 port padded":     {"PROXY TCP4 192.0.2.7 198.51.100.1 04660 25\r\n", "", errProxyBad},
		"v1 missing port":    {"PROXY TCP4 192.0.2.7 198.51.100.1 4660\r\n", "", errProxyBad},
		"v1 bare LF":         {"PROXY TCP4 192.0.2.7 198.51.100.1 4660 25\n" + strings.Repeat("x", 107), "", errProxyBad},
		"v1 zone":            {"PROXY TCP6 fe80::1%eth0 2001:db8::1 4660 25\r\n", "", errProxyBad},
		"lower case":         {"proxy TCP4 192.0.2.7 198.51.100.1 4660 25\r\n", "", errProxyBad},
		"SMTP":               {"EHLO client.example\r\n", "", errProxyBad},
		"nothing":            {"", "", errProxyShort},
		"v2 TCP4":            {string(v2(1, 0x11, v2Addr4)), "192.0.2.7:4660", nil},
		"v2 TCP6":            {string(v2(1, 0x21, v2Addr6)), "[2001:db8::7]:4660", nil},
		"v2 TCP4 and TLVs":   {string(v2(1, 0x11, append(v2Addr4[:12:12], 0x04, 0, 3, 'a', 'b', 'c'))), "192.0.2.7:4660", nil},
		"v2 LOCAL":           {string(v2(0, 0, nil)), "", nil},
		"v2 LOCAL, address":  {string(v2(0, 0x11, v2Addr4)), "", nil},
		"v2 unspecified":     {string(v2(1, 0, nil)), "", nil},
		"v2 unix":            {string(v2(1, 0x31, make([]byte, 216))), "", nil},
		"v2 UDP":             {string(v2(1, 0x12, v2Addr4)), "", errProxyBad},
		"v2 odd family":      {string(v2(1, 0x01, v2Addr4)), "", errProxyBad},
		"v2 short block":     {string(v2(1, 0x21, v2Addr4)), "", errProxyBad},
		"v2 3,000 of TLVs":   {string(v2(1, 0x11, append(v2Addr4[:12:12], make([]byte, 3000)...))), "192.0.2.7:4660", nil},
		"v2 too long":        {string(v2(1, 0x11, make([]byte, 4081))), "", errProxyBad},
		"v2 half":            {string(v2(1, 0x11, v2Addr4)[:20]), "", errProxyShort},
		"v2 version 1":       {strings.Replace(string(v2(1, 0x11, v2Addr4)), "\x21\x11", "\x11\x11", 1), "", errProxyBad},
		"v2 command 2":       {string(v2(2, 0x11, v2Addr4)), "", errProxyBad},
		"v2 signature":       {"\r\n\r\n\x00\r\nQUIX\n", "", errProxyBad},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h, n, err := parseProxy([]byte(test.in))
			if !errors.Is(err, test.err) {
				t.Fatalf("error %v, want %v", err, test.err)
			}
			if err != nil {
				return
			}
			if n != len(test.in) {
				t.Errorf("%d of %d bytes consumed", n, len(test.in))
			}
			if h.local != (test.source == "") || !h.local && h.source.String() != test.source {
				t.Errorf("got %+v", h)
			}
		})
	}
}

// FuzzParseProxy is fuzz target F4: bounds, and the same answer whatever comes behind and however it arrives.
func FuzzParseProxy(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 198.51.100.1 4660 25\r\nEHLO x\r\n"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add(v2(1, 0x11, v2Addr4))
	f.Add(v2(1, 0x21, v2Addr6))
	f.Add(v2(0, 0, nil))
	f.Fuzz(func(t *testing.T, in []byte) {
		h, n, err := parseProxy(in)
		if err != nil {
			if n != 0 || h != (proxyHeader{}) {
				t.Fatalf("an error with a result: %d %+v", n, h)
			}
			if errors.Is(err, errProxyShort) && len(in) >= proxyV2Max {
				t.Fatal("asks for more than the longest header")
			}
			return
		}
		if n <= 0 || n > len(in) || n > proxyV2Max {
			t.Fatalf("consumed %d of %d", n, len(in))
		}
		if h.local == h.source.IsValid() {
			t.Fatalf("neither or both of local and a source: %+v", h)
		}
		again, m, err := parseProxy(append(in[:n:n], "EHLO x\r\n"...))
		if err != nil || m != n || again != h {
			t.Fatalf("with other bytes behind it: %+v %d %v, before %+v %d", again, m, err, h, n)
		}
		for cut := range n {
			if _, _, err := parseProxy(in[:cut]); !errors.Is(err, errProxyShort) {
				t.Fatalf("the first %d of %d bytes: %v", cut, n, err)
			}
		}
	})
}

func behindProxy(cfg Config) Config {
	cfg.ProxyProtocol = ProxyRequire
	if cfg.TrustedProxies == nil {
		cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}
	return cfg
}

func TestProxyGivesTheClient(t *testing.T) {
	for name, header := range map[string]string{
		"v1": "PROXY TCP4 192.0.2.7 198.51.100.1 4660 25\r\n",
		"v2": string(v2(1, 0x11, v2Addr4)),
	} {
		t.Run(name, func(t *testing.T) {
			srv := start(t, behindProxy(Config{}), new(memorySink))
			c := dial(t, srv.addr)
			for i := range len(header) { // cut everywhere
				c.send(header[i : i+1])
			}
			c.hello()
			c.envelope()
			c.send("x\r\n.\r\n")
			c.want("250 2.0.0")
			env := srv.sink.envs[0]
			if ip, _ := netip.AddrFromSlice(env.GetClient().GetIp()); ip != netip.MustParseAddr("192.0.2.7") || env.GetClient().GetPort() != 4660 {
				t.Errorf("client is %v", env.GetClient())
			}
			if ip, _ := netip.AddrFromSlice(env.GetProxy().GetIp()); ip != netip.MustParseAddr("127.0.0.1") {
				t.Errorf("proxy is %v", env.GetProxy())
			}
			if !strings.Contains(srv.log.String(), `"remote_net":"192.0.2.0/24"`) {
				t.Error("the log does not name the client")
			}
		})
	}
}

func TestProxySpoofing(t *testing.T) {
	header := "PROXY TCP4 192.0.2.7 198.51.100.1 4660 25\r\n"
	elsewhere := []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	tests := map[string]struct {
		cfg  Config
		send string
		want string // reply prefix; empty: closed without a word
	}{
		"from an address that is not trusted": {behindProxy(Config{TrustedProxies: elsewhere}), header, ""},
		"no header":                           {behindProxy(Config{}), "EHLO client.example\r\n", ""},
		"broken header":                       {behindProxy(Config{}), "PROXY TCP4 192.0.2.7\r\n", ""},
		"silence":                             {behindProxy(Config{Timeouts: Timeouts{ProxyHeader: 100 * time.Millisecond}}), "", ""},
		"too long":                            {behindProxy(Config{}), "PROXY UNKNOWN " + strings.Repeat("x", 200) + "\r\n", ""},
		"where it is off":                     {Config{}, header, "220 "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			srv := start(t, test.cfg, new(memorySink))
			c := dial(t, srv.addr)
			if test.want != "" {
				c.want(test.want)
				c.send(test.send)
				c.want("5") // a command like any unknown one
				return
			}
			c.send(test.send)
			c.wantClosed()
			if n := valueOf(srv.metrics.connections.WithLabelValues("proxy_refused")); n != 1 {
				t.Errorf("proxy_refused is %v", n)
			}
		})
	}
	t.Run("a second header", func(t *testing.T) {
		srv := start(t, behindProxy(Config{}), new(memorySink))
		c := dial(t, srv.addr)
		c.send(header)
		c.want("220 ")
		c.cmd("PROXY TCP4 203.0.113.9 198.51.100.1 4660 25", "5")
		c.cmd("EHLO client.example", "250-")
		c.envelope()
		c.send("x\r\n.\r\n")
		c.want("250 2.0.0")
		if ip, _ := netip.AddrFromSlice(srv.sink.envs[0].GetClient().GetIp()); ip != netip.MustParseAddr("192.0.2.7") {
			t.Errorf("client is %v", ip)
		}
	})
}

// A connection without a client is in no limit: it may look, not send.
func TestHealthChecksSendNoMail(t *testing.T) {
	for name, header := range map[string]string{"v1": "PROXY UNKNOWN\r\n", "v2": string(v2(0, 0, nil))} {
		t.Run(name, func(t *testing.T) {
			srv := start(t, behindProxy(Config{}), new(memorySink))
			c := dial(t, srv.addr)
			c.send(header)
			c.hello()
			c.cmd("MAIL FROM:<a@sender.example>", "451 4.7.0")
			c.cmd("QUIT", "221")
		})
	}
}

func TestHealthChecksAreSilent(t *testing.T) {
	for name, header := range map[string]string{"v1": "PROXY UNKNOWN\r\n", "v2": string(v2(0, 0, nil))} {
		t.Run(name, func(t *testing.T) {
			srv := start(t, behindProxy(Config{MaxConnsPerIP: 1}), new(memorySink))
			for range 3 {
				c := dial(t, srv.addr)
				c.send(header)
				c.hello()
				if n := valueOf(srv.metrics.active); n != 0 {
					t.Errorf("%v sessions active", n)
				}
				c.cmd("QUIT", "221")
			}
			eventually(t, "they are gone", func() bool {
				srv.mu.Lock()
				defer srv.mu.Unlock()
				return len(srv.conns) == 0
			})
			if text := srv.log.String(); text != "" {
				t.Errorf("log: %s", text)
			}
			if n := valueOf(srv.metrics.connections.WithLabelValues("health_check")); n != 3 {
				t.Errorf("health_check is %v", n)
			}
		})
	}
}

func TestLimitsCountTheClientBehindTheProxy(t *testing.T) {
	srv := start(t, behindProxy(Config{MaxConnsPerIP: 1}), new(memorySink))
	one, other := "PROXY TCP4 192.0.2.7 198.51.100.1 4660 25\r\n", "PROXY TCP4 192.0.2.8 198.51.100.1 4660 25\r\n"
	first := dial(t, srv.addr)
	first.send(one)
	first.hello()
	second := dial(t, srv.addr)
	second.send(one)
	second.want("421 4.7.0")
	second.wantClosed()
	third := dial(t, srv.addr)
	third.send(other)
	third.hello()
}

func TestXClientOnlyFromNamedNetworks(t *testing.T) {
	t.Run("named", func(t *testing.T) {
		srv := start(t, Config{MaxConnsPerIP: 1, XClientFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, new(memorySink))
		c := dial(t, srv.addr)
		c.hello()
		c.cmd("XCLIENT ADDR=192.0.2.9 PORT=1234", "220 ")
		c.cmd("EHLO client.example", "250-")
		c.envelope()
		c.send("x\r\n.\r\n")
		c.want("250 2.0.0")
		if ip, _ := netip.AddrFromSlice(srv.sink.envs[0].GetClient().GetIp()); ip != netip.MustParseAddr("192.0.2.9") {
			t.Errorf("client is %v", ip)
		}
		// The limit follows the client: its own place is free again, the new one is taken.
		second := dial(t, srv.addr)
		second.hello()
		second.cmd("XCLIENT ADDR=192.0.2.9", "220 ")
		second.want("421 4.7.0")
		second.wantClosed()
	})
	t.Run("from anybody", func(t *testing.T) {
		srv := start(t, Config{}, new(memorySink))
		c := dial(t, srv.addr)
		c.hello()
		c.cmd("XCLIENT ADDR=192.0.2.9", "5")
		c.envelope()
		c.send("x\r\n.\r\n")
		c.want("250 2.0.0")
		if ip, _ := netip.AddrFromSlice(srv.sink.envs[0].GetClient().GetIp()); ip != netip.MustParseAddr("127.0.0.1") {
			t.Errorf("client is %v", ip)
		}
	})
}

func TestEarlyTalkerIsRefused(t *testing.T) {
	// The client speaks before the server accepts: what it sent is there when the greeting would go out.
	cfg := Config{Hostname: "mx.example.com"}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := newClient(t, conn)
	c.send("EHLO robot.example\r\nMAIL FROM:<a@sender.example>\r\n")
	srv := serveOn(t, l, cfg, new(memorySink), ListenerPlain, nil)
	c.want("554 5.5.0")
	c.wantClosed()
	if n := valueOf(srv.metrics.connections.WithLabelValues("early_talker")); n != 1 {
		t.Errorf("early_talker is %v", n)
	}
}
