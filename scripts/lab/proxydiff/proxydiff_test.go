package proxydiff

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/smtp"
	"github.com/sluice-mail/sluice/pkg/smtpd"
)

// sink reports the client of each mail.
type sink struct{ clients chan netip.AddrPort }

func (s sink) Ready() error { return nil }

func (s sink) Begin(tx *smtpd.Transaction) (smtpd.Delivery, error) {
	env := tx.Envelope
	ip, _ := netip.AddrFromSlice(env.GetClient().GetIp())
	s.clients <- netip.AddrPortFrom(ip.Unmap(), uint16(env.GetClient().GetPort()))
	return s, nil
}

func (sink) Write([]byte) error { return nil }

func (sink) Commit(context.Context, uint64) (string, error) { return "01", nil }

func (sink) Abort() {}

func (sink) Mail(context.Context, *smtpd.Transaction) error { return nil }

func (sink) Rcpt(_ context.Context, _ *smtpd.Transaction, r smtp.Rcpt) (string, error) {
	return r.Local + "@" + r.Domain, nil
}

// dialogue makes the server call Begin without waiting for anything.
const dialogue = "HELO client.example\r\nMAIL FROM:<a@sender.example>\r\nRCPT TO:<u@example.com>\r\nBDAT 1 LAST\r\nxQUIT\r\n"

// seeds are good headers of every kind.
func seeds(t *testing.T) (all [][]byte) {
	add := func(version byte, command proxyproto.ProtocolVersionAndCommand, family proxyproto.AddressFamilyAndProtocol, src, dst string) {
		h := &proxyproto.Header{Version: version, Command: command, TransportProtocol: family}
		if src != "" {
			h.SourceAddr = net.TCPAddrFromAddrPort(netip.MustParseAddrPort(src))
			h.DestinationAddr = net.TCPAddrFromAddrPort(netip.MustParseAddrPort(dst))
		}
		b, err := h.Format()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	for version := byte(1); version <= 2; version++ {
		add(version, proxyproto.PROXY, proxyproto.TCPv4, "192.0.2.7:4660", "198.51.100.1:25")
		add(version, proxyproto.PROXY, proxyproto.TCPv6, "[2001:db8::7]:4660", "[2001:db8::1]:25")
	}
	add(1, proxyproto.LOCAL, proxyproto.UNSPEC, "", "")
	add(2, proxyproto.LOCAL, proxyproto.UNSPEC, "", "")
	return all
}

// mutate changes a few bytes.
func mutate(rnd *rand.Rand, b []byte) []byte {
	b = bytes.Clone(b)
	for range rnd.IntN(3) {
		i := rnd.IntN(len(b))
		switch rnd.IntN(5) {
		case 0:
			b[i] = byte(rnd.Uint32())
		case 1:
			b[i] ^= 1 << rnd.IntN(8)
		case 2:
			b = append(b[:i:i], b[i+1:]...)
		case 3:
			b = append(b[:i:i], append([]byte{b[i]}, b[i:]...)...)
		case 4:
			b[i] = "0123456789 :.\r\n"[rnd.IntN(15)]
		}
		if len(b) == 0 {
			return b
		}
	}
	return b
}

// library is what go-proxyproto makes of in.
func library(in []byte) (source netip.AddrPort, accepted bool) {
	h, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(in)))
	if err != nil {
		return source, false
	}
	if tcp, ok := h.SourceAddr.(*net.TCPAddr); ok && h.Command == proxyproto.PROXY {
		ap := tcp.AddrPort()
		source = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return source, true
}

// ours is what the server makes of it: the client in the envelope; none for health checks.
func ours(t *testing.T, addr string, in []byte, clients chan netip.AddrPort) (source netip.AddrPort, accepted bool) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = conn.Write(append(bytes.Clone(in), dialogue...))
	_ = conn.(*net.TCPConn).CloseWrite()
	text, _ := io.ReadAll(conn)
	if strings.Contains(string(text), smtp.ReplyNoClient.Text) {
		return source, true // a health check may say anything but MAIL
	}
	if !strings.Contains(string(text), "queued") {
		return source, false
	}
	source = <-clients
	return source, true
}

// Where both accept a header they must agree on the client. We may refuse more: what the library is lenient
// about is listed. We must not accept what it refuses, but for the listed cases.
func TestAgainstGoProxyproto(t *testing.T) {
	s := sink{make(chan netip.AddrPort, 16)}
	srv, err := smtpd.NewServer(smtpd.Config{
		Hostname: "mx.example.com", ProxyProtocol: smtpd.ProxyRequire, MaxConnsPerIP: -1, MaxConnsPerNet: -1,
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}, s, s, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.Serve(l, smtpd.ListenerPlain) }()
	defer srv.Shutdown(context.Background())

	rnd := rand.New(rand.NewPCG(1, 2))
	good := seeds(t)
	counts := map[string]int{}
	for range 6000 {
		in := mutate(rnd, good[rnd.IntN(len(good))])
		theirs, theyAccept := library(append(bytes.Clone(in), dialogue...))
		mine, weAccept := ours(t, l.Addr().String(), in, s.clients)
		switch {
		case theyAccept && weAccept && theirs != mine:
			t.Errorf("%q: client %v, go-proxyproto says %v", in, mine, theirs)
		case weAccept && !theyAccept:
			counts["only we accept"]++
			if why := knownLenient(in); why == "" {
				t.Errorf("%q: accepted as %v, go-proxyproto refuses", in, mine)
			}
		case theyAccept && !weAccept:
			counts["only they accept"]++
		case weAccept:
			counts["both accept"]++
		default:
			counts["both refuse"]++
		}
	}
	t.Log(fmt.Sprint(counts))
	if counts["both accept"] < 500 || counts["both refuse"] < 500 {
		t.Error("the mutations do not exercise the parsers")
	}
}

// knownLenient names why a header only we accept is right to accept.
func knownLenient(in []byte) string {
	switch {
	case bytes.HasPrefix(in, []byte("PROXY UNKNOWN")):
		return "section 2.1: what follows UNKNOWN is ignored up to CRLF"
	case len(in) > 13 && in[0] == '\r' && in[12] == 0x20:
		return "section 2.2: the family of LOCAL is ignored"
	}
	return ""
}
