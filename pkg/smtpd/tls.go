package smtpd

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certCheckEvery is how often, at most, a handshake looks whether the certificate files changed.
const certCheckEvery = time.Second

// certificate serves the key pair in two PEM files and follows their changes, so that an ACME client needs no
// restart or signal. While the files are unreadable or do not match, the last good pair stays in use.
type certificate struct {
	certFile, keyFile string
	logger            *slog.Logger

	mu      sync.Mutex
	pair    *tls.Certificate
	seen    [2]fileStamp // what pair, or the last failed attempt, was read from
	checked time.Time
}

type fileStamp struct {
	modified time.Time
	size     int64
}

func newCertificate(certFile, keyFile string, logger *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, logger: logger}
	seen, err := c.stamps()
	if err != nil {
		return nil, fmt.Errorf("reading the TLS certificate: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("reading the TLS certificate %s and key %s: %w", certFile, keyFile, err)
	}
	c.pair, c.seen = &pair, seen
	return c, nil
}

// get is tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.checked) < certCheckEvery {
		return c.pair, nil
	}
	c.checked = now
	seen, err := c.stamps()
	if err != nil || seen == c.seen {
		return c.pair, nil // a file may be missing for the moment between unlink and rename
	}
	c.seen = seen
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		c.logger.Warn("the changed TLS certificate cannot be used; the previous one stays", "cert", c.certFile, "error", err)
		return c.pair, nil
	}
	c.pair = &pair
	c.logger.Info("TLS certificate reloaded", "cert", c.certFile)
	return c.pair, nil
}

func (c *certificate) stamps() (s [2]fileStamp, err error) {
	for i, name := range [2]string{c.certFile, c.keyFile} {
		fi, err := os.Stat(name)
		if err != nil {
			return s, err
		}
		s[i] = fileStamp{fi.ModTime(), fi.Size()}
	}
	return s, nil
}

// newTLSConfig is the server's TLS policy: RFC 8996 forbids versions before 1.2.
func newTLSConfig(c *certificate) *tls.Config {
	return &tls.Config{
		GetCertificate: c.get,
		MinVersion:     tls.VersionTLS12,
		// Some large senders abort STARTTLS when offered a ticket they will not use (golang/go#70232).
		SessionTicketsDisabled: true,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			return nil, hello.Conn.(*tlsWire).takeSlot()
		},
	}
}
