package ingress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/sluice-mail/sluice/pkg/smtpd"
)

// listen opens the listeners, or takes over those that systemd opened for us: the one named smtps (FileDescriptorName=)
// is for implicit TLS.
func (s *Service) listen() error {
	activated, err := smtpd.ActivationListeners()
	if err != nil {
		return fmt.Errorf("taking over systemd's sockets: %w", err)
	}
	if len(activated) > 0 {
		s.adopt(activated)
		return nil
	}
	if len(s.cfg.Addr)+len(s.cfg.TLSAddr) == 0 {
		return errors.New("INGRESS_ADDR and INGRESS_TLS_ADDR are both off: there is nothing to listen on")
	}
	if s.plain, err = listenAll("INGRESS_ADDR", s.cfg.Addr); err != nil {
		return err
	}
	if s.tls, err = listenAll("INGRESS_TLS_ADDR", s.cfg.TLSAddr); err != nil {
		closeAll(s.plain)
	}
	return err
}

// listenAll opens all addresses or none.
func listenAll(variable string, addrs []string) (list []net.Listener, err error) {
	for _, addr := range addrs {
		// No TCP keep-alive: every wait of a session has a deadline, and it would take four system calls per connection.
		l, err := (&net.ListenConfig{KeepAlive: -1}).Listen(context.Background(), network(addr, addrs), addr)
		if err != nil {
			closeAll(list)
			return nil, fmt.Errorf("%s=%s: %w", variable, addr, err)
		}
		list = append(list, l)
	}
	return list, nil
}

func closeAll(list []net.Listener) {
	for _, l := range list {
		l.Close()
	}
}

// network says what an address is to be listened on with. An address without a host, or [::], takes IPv4 connections,
// too, so that it cannot be opened beside 0.0.0.0: beside that it means IPv6 alone.
func network(addr string, all []string) string {
	host, port, _ := net.SplitHostPort(addr)
	switch {
	case host == "0.0.0.0":
		return "tcp4"
	case host == "::" && slices.Contains(all, "0.0.0.0:"+port):
		return "tcp6"
	}
	return "tcp"
}

// adopt sorts the sockets of systemd by what they are for.
func (s *Service) adopt(activated map[string][]net.Listener) {
	for name, listeners := range activated {
		if name == "smtps" {
			s.tls = append(s.tls, listeners...)
		} else {
			s.plain = append(s.plain, listeners...)
		}
	}
}
