package ingress

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/policy"
	"github.com/sluice-mail/sluice/pkg/smtpd"
	"github.com/sluice-mail/sluice/pkg/smtpd/spool"
)

// dialogue is an SMTP client that comes from an address of its own.
type dialogue struct {
	net.Conn
	r *bufio.Reader
}

func from(t testing.TB, source netip.Addr, addr string) *dialogue {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: source.AsSlice()}}
	conn, err := dialer.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	d := &dialogue{conn, bufio.NewReader(conn)}
	for _, step := range [][2]string{{"", "220"}, {"EHLO client.example\r\n", "250"}} {
		if got := d.say(step[0]); !strings.HasPrefix(got, step[1]) {
			t.Fatalf("%q was answered %q", step[0], got)
		}
	}
	return d
}

// say sends text and returns the last line of the reply; empty when the connection is over.
func (d *dialogue) say(text string) string {
	if _, err := io.WriteString(d, text); err != nil {
		return ""
	}
	for {
		line, err := d.r.ReadString('\n')
		if err != nil || len(line) < 4 || line[3] != '-' {
			return strings.TrimSpace(line)
		}
	}
}

// beginMail gets to the 354, or returns the first reply that is no success.
func (d *dialogue) beginMail() (reply string) {
	for _, text := range []string{"MAIL FROM:<a@sender.example>\r\n", "RCPT TO:<u@example.com>\r\n", "DATA\r\n"} {
		if reply = d.say(text); reply == "" || reply[0] > '3' {
			return reply
		}
	}
	return reply
}

// mail sends one mail and returns the first reply that is no success, or the last.
func (d *dialogue) mail(body string) (reply string) {
	if reply = d.beginMail(); strings.HasPrefix(reply, "354") {
		reply = d.say(body + ".\r\n")
	}
	return reply
}

// startSink serves a sink on a free port, for any recipient.
func startSink(t *testing.T, s *sink, cfg smtpd.Config) (addr string) {
	t.Helper()
	p, err := policy.New(policy.Config{Domains: []string{"*"}})
	if err != nil {
		t.Fatal(err)
	}
	return serveSink(t, s, p, cfg)
}

// serveSink serves a sink on a free port, for the recipients of a policy.
func serveSink(t *testing.T, s *sink, p *policy.Policy, cfg smtpd.Config) (addr string) {
	t.Helper()
	cfg.Hostname = "mx.example.com"
	srv, err := smtpd.NewServer(cfg, s, recipients{p}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
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
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_ = srv.Shutdown(ctx) // the slow senders never finish
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// Three hundred connections of one network begin large mails and let them drip. A client from elsewhere notices nothing,
// whether its mail fits into memory or not.
func TestSlowSendersHarmNobody(t *testing.T) {
	s, pool := newSink(t, new(fakeLog), spool.Config{Memory: 8 << 20, MaxDisk: 20 << 20})
	addr := startSink(t, s, smtpd.Config{MaxConnsPerIP: -1, MaxConnsPerNet: -1})
	stop := make(chan struct{})
	var drips sync.WaitGroup
	defer drips.Wait()
	defer close(stop)
	block := strings.Repeat("a large mail that never ends\r\n", 12_000) // 360 KB: more than one mail may hold in memory
	for i := range 300 {
		d := from(t, netip.MustParseAddr(fmt.Sprintf("127.1.2.%d", 1+i%250)), addr)
		d.beginMail()
		drips.Go(func() {
			if _, err := io.WriteString(d, block); err != nil {
				return
			}
			tick := time.NewTicker(500 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					if _, err := io.WriteString(d, "drip\r\n"); err != nil {
						return
					}
				}
			}
		})
	}
	good := from(t, netip.MustParseAddr("127.0.0.1"), addr)
	const patience = 5 * time.Second // a second is promised; machines that run tests are busy
	small, large := strings.Repeat("small mail\r\n", 340), strings.Repeat("a large mail\r\n", 80_000)
	slowest := time.Duration(0)
	for i := range 1000 {
		body := small
		if i%50 == 0 {
			body = large
		}
		began := time.Now()
		reply := good.mail(body)
		if took := time.Since(began); !strings.HasPrefix(reply, "250 ") || took > patience {
			memory, disk := pool.InUse()
			t.Fatalf("mail %d of %d bytes was answered %q after %v; the spool holds %d and %d bytes", i, len(body), reply, took, memory, disk)
		} else {
			slowest = max(slowest, took)
		}
	}
	t.Logf("the slowest of 1,000 mails took %v", slowest.Round(time.Millisecond))
}

// Nine silent uploads, each as large as a mail may be, once filled the spool; then nobody got a mail in, not even one
// that never touches the disk.
func TestNineSilentClientsHarmNobody(t *testing.T) {
	s, _ := newSink(t, new(fakeLog), spool.Config{MaxDisk: 8 << 20, Patience: 50 * time.Millisecond})
	addr := startSink(t, s, smtpd.Config{})
	half := strings.Repeat("half a mail\r\n", 76_000)
	silent := make([]*dialogue, 9)
	for i := range silent {
		silent[i] = from(t, netip.MustParseAddr("127.0.0.1"), addr)
		silent[i].beginMail()
		if _, err := io.WriteString(silent[i], half); err != nil {
			t.Fatal(err)
		}
	}
	good := from(t, netip.MustParseAddr("127.0.0.1"), addr)
	if reply := good.mail("small\r\n"); !strings.HasPrefix(reply, "250 ") {
		t.Errorf("a small mail: %q", reply)
	}
	deadline := time.Now().Add(time.Minute)
	reply := ""
	for !strings.HasPrefix(reply, "250 ") && time.Now().Before(deadline) {
		reply = good.mail(half)
	}
	if !strings.HasPrefix(reply, "250 ") {
		t.Errorf("a large mail: %q", reply)
	}
	shed := 0
	for _, d := range silent {
		_ = d.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if line, _ := d.r.ReadString('\n'); strings.HasPrefix(line, "421 4.3.1") {
			shed++
		}
	}
	if shed == 0 {
		t.Error("no upload was given up with 421")
	}
}
