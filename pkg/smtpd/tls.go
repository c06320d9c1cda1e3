package smtpd

import (
	"cmp"
	"crypto/tls"

	"github.com/sluice-mail/sluice/pkg/smtpd/certs"
)

// newTLSConfig is the server's TLS policy: RFC 8996 forbids versions before 1.2.
func newTLSConfig(store *certs.Store, minVersion uint16) *tls.Config {
	return &tls.Config{
		GetCertificate: store.Get,
		MinVersion:     cmp.Or(minVersion, tls.VersionTLS12),
		// Some large senders abort STARTTLS when offered a ticket they will not use (golang/go#70232).
		SessionTicketsDisabled: true,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			return nil, hello.Conn.(*tlsWire).takeSlot()
		},
	}
}
