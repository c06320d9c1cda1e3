package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// epoch is so late that Open, which has the clock of the world, has nothing to warn of.
var epoch = time.Date(2126, 5, 1, 0, 0, 0, 0, time.UTC)

// write makes a pair for names, which ends so many days after epoch.
func write(t *testing.T, certFile, keyFile string, days int, names ...string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(int64(days)), DNSNames: names, NotBefore: epoch.AddDate(-200, 0, 0), NotAfter: epoch.AddDate(0, 0, days)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "EC PRIVATE KEY", Bytes: der}} {
		put(t, name, string(pem.EncodeToMemory(block)))
	}
}

func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// store is a Store with a clock and a log of its own.
type store struct {
	*Store
	t    *testing.T
	log  bytes.Buffer
	time time.Time
	reg  *prometheus.Registry
}

func open(t *testing.T, cfg Config) *store {
	t.Helper()
	s := &store{t: t, time: epoch, reg: prometheus.NewRegistry()}
	var err error
	if s.Store, err = Open(cfg, slog.New(slog.NewTextHandler(&s.log, nil)), s.reg); err != nil {
		t.Fatal(err)
	}
	s.now = func() time.Time { return s.time }
	return s
}

// expect looks up the number of days that tells certificates apart, a second later than the last time.
func (s *store) expect(name string, want int64) {
	s.t.Helper()
	s.time = s.time.Add(checkEvery)
	cert, err := s.Get(&tls.ClientHelloInfo{ServerName: name})
	if err != nil || cert.Leaf.SerialNumber.Int64() != want {
		s.t.Errorf("%q gets %v, %v; want %d", name, cert.Leaf.SerialNumber, err, want)
	}
}

func TestEachNameHasItsCertificate(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	pairs := in("pairs")
	write(t, in("cert.pem"), in("key.pem"), 100, "mx.example.com")
	write(t, in("pairs/a.crt"), in("pairs/a.key"), 101, "MX.a.example", "smtp.a.example")
	write(t, in("pairs/b.example/fullchain.pem"), in("pairs/b.example/privkey.pem"), 102, "*.b.example")
	put(t, in("pairs/README"), "certbot writes one")
	s := open(t, Config{Cert: in("cert.pem"), Key: in("key.pem"), Dir: pairs})
	for name, want := range map[string]int64{"": 100, "mx.example.com": 100, "elsewhere.example": 100, "mx.a.example": 101, "SMTP.A.example.": 101, "x.b.example": 102, "b.example": 100,
		"x.y.b.example": 100} {
		s.expect(name, want)
	}
	alone := open(t, Config{Dir: pairs, Hostname: "mx.b.example"})
	alone.expect("", 102)
	alone.expect("mx.a.example", 101)
	if strings.Contains(s.log.String(), "level=WARN") {
		t.Errorf("it warns:\n%s", &s.log)
	}
}

// Renewed, new and removed pairs are noticed; a broken one changes nothing and is complained of once.
func TestPairsAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	write(t, in("a.crt"), in("a.key"), 100, "a.example")
	write(t, in("b.crt"), in("b.key"), 101, "b.example")
	s := open(t, Config{Dir: dir, Hostname: "a.example"})
	s.expect("b.example", 101)
	write(t, in("b.crt"), in("b.key"), 10200, "b.example", "also-b.example")
	s.expect("b.example", 10200)
	write(t, in("c.crt"), in("c.key"), 103, "c.example")
	s.expect("c.example", 103)
	put(t, in("b.crt"), "broken")
	put(t, in("d.crt"), "new and broken")
	put(t, in("d.key"), "too")
	put(t, in("e.crt"), "its key comes later")
	for range 3 {
		s.expect("b.example", 10200)
		s.expect("d.example", 100)
	}
	if n := strings.Count(s.log.String(), "the previous one stays"); n != 2 {
		t.Errorf("two broken pairs, %d complaints:\n%s", n, &s.log)
	}
	write(t, in("b.crt"), in("b.key"), 10400, "b.example", "and-more-of-b.example")
	s.expect("b.example", 10400)
	if err := os.Remove(in("c.crt")); err != nil {
		t.Fatal(err)
	}
	s.expect("c.example", 100)
}

func TestExpiryIsSeen(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "new.crt"), filepath.Join(dir, "new.key"), 60, "new.example")
	write(t, filepath.Join(dir, "old.crt"), filepath.Join(dir, "old.key"), 14, "old.example")
	s := open(t, Config{Dir: dir})
	s.expect("", 60) // a second more than 14 days are not left
	days := `
		# HELP sluice_smtp_tls_cert_expiry_days Days until a certificate expires, by the name of its files in the configuration.
		# TYPE sluice_smtp_tls_cert_expiry_days gauge
		sluice_smtp_tls_cert_expiry_days{name="new"} 50
		sluice_smtp_tls_cert_expiry_days{name="old"} 4
	`
	s.time = epoch.AddDate(0, 0, 10)
	if err := testutil.GatherAndCompare(s.reg, strings.NewReader(days), "sluice_smtp_tls_cert_expiry_days"); err != nil {
		t.Error(err)
	}
	if log := s.log.String(); strings.Count(log, "expires soon") != 2 || strings.Contains(log, "name=new") { // once a day
		t.Errorf("the log says:\n%s", log)
	}
}

func TestOpenNamesWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "bad", "x.crt"), "broken")
	put(t, filepath.Join(dir, "empty", "README"), "no pair")
	for want, cfg := range map[string]Config{"x.key": {Dir: filepath.Join(dir, "bad")}, "there is no pair": {Dir: filepath.Join(dir, "empty")},
		"nowhere": {Cert: filepath.Join(dir, "nowhere"), Key: "k"}} {
		if _, err := Open(cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", cfg, err, want)
		}
	}
}
