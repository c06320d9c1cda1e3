package ingress

import (
	"fmt"
	"net"

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
	plain, err := net.Listen("tcp", string(s.cfg.Addr))
	if err != nil {
		return fmt.Errorf("INGRESS_ADDR=%s: %w", s.cfg.Addr, err)
	}
	s.plain = append(s.plain, plain)
	if s.cfg.TLSAddr == "" {
		return nil
	}
	implicit, err := net.Listen("tcp", string(s.cfg.TLSAddr))
	if err != nil {
		plain.Close()
		return fmt.Errorf("INGRESS_TLS_ADDR=%s: %w", s.cfg.TLSAddr, err)
	}
	s.tls = append(s.tls, implicit)
	return nil
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
