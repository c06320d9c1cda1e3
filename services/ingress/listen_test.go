package ingress

import (
	"net"
	"strings"
	"testing"
)

// systemd may open a socket for implicit TLS and no other.
func TestOnlyTheSocketForTLS(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := new(Service)
	s.adopt(map[string][]net.Listener{"smtps": {l}})
	if s.Addr() != l.Addr() || len(s.plain) != 0 {
		t.Errorf("the address is %v, %d plain listeners", s.Addr(), len(s.plain))
	}
}

// Each listener may have several addresses; one without a host is both kinds of IP.
func TestSeveralAddresses(t *testing.T) {
	free, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(free.Addr().String())
	free.Close()
	for _, addrs := range [][]string{{":" + port}, {"0.0.0.0:" + port, "[::]:" + port}, {"127.0.0.1:" + port, "[::1]:" + port}} {
		list, err := listenAll("INGRESS_ADDR", addrs)
		if err != nil && strings.Contains(err.Error(), "cannot assign requested address") {
			t.Skip("skipped: needs IPv6 on this machine")
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range []string{"127.0.0.1:" + port, "[::1]:" + port} {
			conn, err := net.Dial("tcp", to)
			if err != nil {
				t.Errorf("%v does not take %s: %v", addrs, to, err)
				continue
			}
			conn.Close()
		}
		closeAll(list)
	}
	if _, err := listenAll("INGRESS_ADDR", []string{"127.0.0.1:0", "192.0.2.1:1"}); err == nil || !strings.HasPrefix(err.Error(), "INGRESS_ADDR=192.0.2.1:1: ") {
		t.Errorf("an address that is not ours: %v", err)
	}
}
