package ingress

import (
	"net"
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
