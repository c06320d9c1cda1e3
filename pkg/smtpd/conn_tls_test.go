package smtpd

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// writePair writes a self-signed certificate for mx.example.com.
func writePair(t testing.TB, certFile, keyFile string, serial int64) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: []string{"mx.example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "EC PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	return roots
}

func withCertificate(t testing.TB, cfg Config) (Config, *x509.CertPool) {
	t.Helper()
	dir := t.TempDir()
	cfg.TLSCert, cfg.TLSKey = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	return cfg, writePair(t, cfg.TLSCert, cfg.TLSKey, 1)
}

func (c *client) startTLS(roots *x509.CertPool) *tls.Conn {
	c.t.Helper()
	c.cmd("STARTTLS", "220 2.0.0")
	return c.handshake(&tls.Config{RootCAs: roots, ServerName: "mx.example.com"})
}

func (c *client) handshake(cfg *tls.Config) *tls.Conn {
	c.t.Helper()
	conn := tls.Client(c.conn, cfg)
	if err := conn.Handshake(); err != nil {
		c.t.Fatalf("handshake: %v", err)
	}
	c.conn, c.r = conn, bufio.NewReader(conn)
	return conn
}

func TestStartTLSForgetsThePlaintext(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			cfg, roots := withCertificate(t, Config{})
			srv := start(t, cfg, new(memorySink))
			c := dial(t, srv.addr)
			c.want("220 ")
			if !strings.Contains(c.cmd("EHLO client.example", "250-"), "STARTTLS") {
				t.Fatal("STARTTLS is not offered")
			}
			c.cmd("STARTTLS", "220 2.0.0")
			c.handshake(&tls.Config{RootCAs: roots, ServerName: "mx.example.com", MaxVersion: version})
			c.cmd("MAIL FROM:<a@sender.example>", "503 ")
			if strings.Contains(c.cmd("EHLO client.example", "250-"), "STARTTLS") {
				t.Error("STARTTLS is offered twice")
			}
			c.cmd("STARTTLS", "50")
			c.envelope()
			body := strings.Repeat("a line of a mail that fills several TLS records\r\n", 4000)
			c.send(body + ".\r\n")
			c.want("250 2.0.0")
			c.cmd("QUIT", "221 ")
			c.wantClosed()
			if mails := srv.sink.stored(); len(mails) != 1 || string(mails[0]) != body {
				t.Fatalf("%d mails stored, want the one sent", len(mails))
			}
			info := srv.sink.envs[0].GetTls()
			if info.GetVersion() != strings.ReplaceAll(tls.VersionName(version), " ", "") || info.GetSni() != "mx.example.com" || info.GetCipher() == "" {
				t.Errorf("envelope says %v", info)
			}
			if p := srv.sink.envs[0].GetProtocol(); p != "ESMTPS" {
				t.Errorf("protocol %q", p)
			}
		})
	}
}

// CVE-2011-0411 and its family: plaintext behind STARTTLS must not be executed inside TLS.
func TestStartTLSInjectionIsRefused(t *testing.T) {
	cfg, _ := withCertificate(t, Config{})
	srv := start(t, cfg, new(memorySink))
	c := dial(t, srv.addr)
	c.hello()
	c.send("STARTTLS\r\nEHLO evil.example\r\nMAIL FROM:<evil@sender.example>\r\n")
	c.want("554 ")
	c.wantClosed()
	if n := valueOf(srv.metrics.handshakes.WithLabelValues("ok")); n != 0 {
		t.Error("a handshake was done")
	}
}

func TestFailedHandshakeClosesAndNeverFallsBack(t *testing.T) {
	cfg, roots := withCertificate(t, Config{Timeouts: Timeouts{Handshake: 200 * time.Millisecond}})
	tests := map[string]func(*client){
		"garbage": func(c *client) { c.send("EHLO evil.example\r\nMAIL FROM:<evil@sender.example>\r\n") },
		"silence": func(*client) {},
		"TLS 1.1": func(c *client) {
			_ = tls.Client(c.conn, &tls.Config{RootCAs: roots, ServerName: "mx.example.com", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}).Handshake()
		},
		"gone": func(c *client) { _ = c.conn.(*net.TCPConn).CloseWrite() },
	}
	for name, behave := range tests {
		t.Run(name, func(t *testing.T) {
			srv := start(t, cfg, new(memorySink))
			c := dial(t, srv.addr)
			c.hello()
			c.cmd("STARTTLS", "220 ")
			behave(c)
			eventually(t, "the connection is closed", func() bool { return valueOf(srv.metrics.active) == 0 })
			if n := valueOf(srv.metrics.handshakes.WithLabelValues("failed")); n != 1 {
				t.Errorf("%v handshakes failed", n)
			}
			if n := valueOf(srv.metrics.commands.WithLabelValues("MAIL", "2xx")); n != 0 {
				t.Error("a command was executed")
			}
		})
	}
}

func TestImplicitTLS(t *testing.T) {
	cfg, roots := withCertificate(t, Config{})
	srv := startKind(t, cfg, new(memorySink), ListenerTLS)
	c := dial(t, srv.addr)
	state := c.handshake(&tls.Config{RootCAs: roots, ServerName: "mx.example.com", ClientSessionCache: tls.NewLRUClientSessionCache(4)}).ConnectionState()
	c.hello()
	c.envelope()
	c.send("x\r\n.\r\n")
	c.want("250 2.0.0")
	if state.DidResume {
		t.Error("resumed")
	}
}

// Microsoft's senders abort when offered a ticket (golang/go#70232).
func TestNoSessionTickets(t *testing.T) {
	cfg, roots := withCertificate(t, Config{})
	srv := start(t, cfg, new(memorySink))
	cache := tls.NewLRUClientSessionCache(4)
	for range 2 {
		c := dial(t, srv.addr)
		c.hello()
		c.cmd("STARTTLS", "220 ")
		conn := c.handshake(&tls.Config{RootCAs: roots, ServerName: "mx.example.com", ClientSessionCache: cache})
		c.cmd("NOOP", "250 ") // a TLS 1.3 ticket would come before this
		if conn.ConnectionState().DidResume {
			t.Fatal("the session was resumed")
		}
	}
	if _, ok := cache.Get("mx.example.com"); ok {
		t.Fatal("the server gave a ticket")
	}
}

// Dots that end nothing, cut across TLS records at every place: one mail or none, and the inner commands are
// never executed.
func TestSmugglingOverTLS(t *testing.T) {
	cfg, roots := withCertificate(t, Config{MaxConnsPerIP: -1, MaxConnsPerNet: -1})
	srv := start(t, cfg, new(memorySink))
	inner := "MAIL FROM:<evil@sender.example>\r\nRCPT TO:<u@example.com>\r\nDATA\r\nsmuggled\r\n.\r\n"
	sessions := 0
	for _, eod := range []string{"\n.\n", "\n.\r\n", "\r.\r", "\r.\n", "\n.\r", "\r\n.\n", "\r\n.\r", "\r.\r\n", "\r\n\x00.\r\n", "\r\n.\x00\r\n"} {
		text := "first" + eod + inner
		for split := range len(eod) + 2 {
			sessions++
			c := dial(t, srv.addr)
			c.hello()
			c.startTLS(roots)
			c.cmd("EHLO client.example", "250-")
			c.envelope()
			before := len(srv.sink.stored())
			c.send(text[:5+split]) // one record
			c.send(text[5+split:])
			c.reply()
			_ = c.conn.Close()
			if n := len(srv.sink.stored()) - before; n > 1 {
				t.Fatalf("%q cut at %d: %d mails stored", eod, split, n)
			}
		}
	}
	if n := valueOf(srv.metrics.commands.WithLabelValues("MAIL", "2xx")); n != float64(sessions) {
		t.Errorf("%v MAIL commands accepted in %d sessions: inner ones were executed", n, sessions)
	}
}

func TestCertificateReloads(t *testing.T) {
	cfg, _ := withCertificate(t, Config{})
	srv := start(t, cfg, new(memorySink))
	serial := func() string {
		c := dial(t, srv.addr)
		defer c.conn.Close()
		c.hello()
		c.cmd("STARTTLS", "220 ")
		conn := c.handshake(&tls.Config{InsecureSkipVerify: true})
		return fmt.Sprint(conn.ConnectionState().PeerCertificates[0].SerialNumber)
	}
	if s := serial(); s != "1" {
		t.Fatalf("serial %s", s)
	}
	writePair(t, cfg.TLSCert, cfg.TLSKey, 2)
	eventually(t, "the new certificate is served", func() bool { return serial() == "2" })
	if err := os.WriteFile(cfg.TLSCert, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the broken file is noticed", func() bool {
		if s := serial(); s != "2" {
			t.Fatalf("serial %s while the file is broken", s)
		}
		return strings.Contains(srv.log.String(), "the previous one stays")
	})
}

// Who speaks no newer version is refused, and every encrypted connection is counted by its version.
func TestOldestVersionOfTLS(t *testing.T) {
	cfg, roots := withCertificate(t, Config{TLSMinVersion: tls.VersionTLS13})
	srv := start(t, cfg, new(memorySink))
	c := dial(t, srv.addr)
	c.hello()
	c.cmd("STARTTLS", "220 ")
	if err := tls.Client(c.conn, &tls.Config{RootCAs: roots, ServerName: "mx.example.com", MaxVersion: tls.VersionTLS12}).Handshake(); err == nil {
		t.Error("TLS 1.2 is spoken")
	}
	c = dial(t, srv.addr)
	c.hello()
	c.startTLS(roots)
	eventually(t, "the connection is counted", func() bool { return valueOf(srv.metrics.tlsVersions.WithLabelValues("TLS1.3")) == 1 })
}
