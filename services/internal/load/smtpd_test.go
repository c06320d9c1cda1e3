package load

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/smtp"
	"github.com/sluice-mail/sluice/pkg/smtpd"
)

// TestAgainstOurOwnServer: every kind and size of mail passes pkg/smtpd unchanged, in the clear and by
// STARTTLS.
func TestAgainstOurOwnServer(t *testing.T) {
	for _, startTLS := range []bool{false, true} {
		sink := &countingSink{stored: map[string]int{}}
		addr := startSMTPD(t, sink)
		report, acks := runFor(t, Config{To: addr, Count: 300, Conns: 4, Rcpts: Range{1, 5}, Sizes: mustSizes(t, "600-200KB"), StartTLS: startTLS})
		if report.Acked != 300 || report.Reconnects != 0 {
			t.Fatalf("STARTTLS %v: %v", startTLS, report)
		}
		for _, a := range acks {
			if n := sink.count(a.SHA256, a.ID); n != 1 {
				t.Errorf("STARTTLS %v: mail %d is there %d times", startTLS, a.Index, n)
			}
		}
	}
}

func startSMTPD(t *testing.T, sink smtpd.Sink) (addr string) {
	t.Helper()
	cert, key := selfSigned(t)
	srv, err := smtpd.NewServer(smtpd.Config{Hostname: "mx.example.com", TLSCert: cert, TLSKey: key}, sink, anyone{},
		slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l, smtpd.ListenerPlain) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		<-served
	})
	return l.Addr().String()
}

func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mx.example.com"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

type anyone struct{}

func (anyone) Mail(context.Context, *smtpd.Transaction) error { return nil }

func (anyone) Rcpt(_ context.Context, _ *smtpd.Transaction, r smtp.Rcpt) (string, error) {
	return r.Local + "@" + r.Domain, nil
}

// countingSink counts how often each mail was committed.
type countingSink struct {
	mu     sync.Mutex
	stored map[string]int
	mails  uint64
}

func (s *countingSink) count(sum, id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stored[sum+" "+id]
}

func (s *countingSink) Ready() error { return nil }

func (s *countingSink) Begin(*smtpd.Transaction) (smtpd.Delivery, error) {
	return &countingDelivery{sink: s}, nil
}

type countingDelivery struct {
	sink *countingSink
	data []byte
}

func (d *countingDelivery) Write(p []byte) error {
	d.data = append(d.data, p...)
	return nil
}

func (d *countingDelivery) Commit(context.Context, uint64) (string, error) {
	sum := sha256.Sum256(d.data)
	d.sink.mu.Lock()
	defer d.sink.mu.Unlock()
	d.sink.mails++
	id := LoadID(0, d.sink.mails)
	d.sink.stored[hex.EncodeToString(sum[:])+" "+id]++
	return id, nil
}

func (d *countingDelivery) Abort() {}
