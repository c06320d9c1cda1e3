package main

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"time"
)

// certificate offers STARTTLS with a self-signed certificate when none is configured. Senders of mail encrypt without
// looking at the name (opportunistic TLS, RFC 7435), so it is worth having.
func (p *parts) certificate() error {
	c := &p.cfg.Ingress
	if c.TLSCert != "" || c.TLSDir != "" {
		return nil
	}
	c.TLSCert, c.TLSKey = p.dir.Certificate(), p.dir.Key()
	if _, err := os.Stat(c.TLSCert); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	hostname, _ := os.Hostname()
	if err := selfSigned(c.TLSCert, c.TLSKey, cmp.Or(c.Hostname, hostname, "localhost")); err != nil {
		return fmt.Errorf("making a self-signed certificate in SLUICE_DATA=%s: %w", p.dir, err)
	}
	return nil
}

func selfSigned(certFile, keyFile, name string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.AddDate(10, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	// The key first: a certificate without its key would be taken for a complete pair at the next start.
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		return err
	}
	return os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o644)
}
