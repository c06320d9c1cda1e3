package smtpd

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// trickle sends one byte per interval until the connection refuses them.
func (c *client) trickle(text string, interval time.Duration) (sent int) {
	c.t.Helper()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for i := range len(text) {
		if _, err := c.conn.Write([]byte{text[i]}); err != nil {
			return i
		}
		<-tick.C
	}
	return len(text)
}

// patient is enough for a client to say its next command, also where the machine stands still for a moment.
const patient = 2 * time.Second

func TestIdleClientIsClosedWith421(t *testing.T) {
	srv := start(t, Config{Timeouts: Timeouts{Idle: patient}}, new(memorySink))
	c := dial(t, srv.addr)
	c.hello()
	c.want("421 4.4.2")
	c.wantClosed()
	if n := valueOf(srv.metrics.timeouts.WithLabelValues("command")); n != 1 {
		t.Errorf("timeouts_total{command} is %v", n)
	}
}

// A byte now and then does not keep a command alive: its deadline counts from the last reply.
func TestTricklingACommandIsClosed(t *testing.T) {
	srv := start(t, Config{Timeouts: Timeouts{Idle: patient}}, new(memorySink))
	c := dial(t, srv.addr)
	c.hello()
	began := time.Now()
	all := "NOOP " + strings.Repeat("x", 700)
	sent := c.trickle(all, 30*time.Millisecond)
	if sent == len(all) {
		t.Fatalf("the server took %d trickled bytes in %v", sent, time.Since(began))
	}
	c.want("421 4.4.2")
}

// The library this engine replaces went on with the rest of a timed-out body as commands.
func TestStalledBodyIsClosedAndNothingExecuted(t *testing.T) {
	for _, data := range []string{"DATA\r\n", "BDAT 1000\r\n"} {
		t.Run(data[:4], func(t *testing.T) {
			srv := start(t, Config{Timeouts: Timeouts{DataBlock: 150 * time.Millisecond}}, new(memorySink))
			c := dial(t, srv.addr)
			c.hello()
			c.cmd("MAIL FROM:<a@sender.example>", "250")
			c.cmd("RCPT TO:<u@example.com>", "250")
			c.send(data)
			if data == "DATA\r\n" {
				c.want("354")
			}
			c.send("Subject: x\r\n\r\nhalf a mail\r\n")
			c.want("421 4.4.2")
			// Late bytes, as an attacker times them: the rest of the body with commands in it.
			_, _ = io.WriteString(c.conn, ".\r\nMAIL FROM:<evil@sender.example>\r\nRCPT TO:<u@example.com>\r\nDATA\r\n")
			_, _ = io.WriteString(c.conn, "smuggled\r\n.\r\n")
			c.wantClosed()
			eventually(t, "the mail is dropped", func() bool { return srv.sink.abortedCount() == 1 })
			if n := len(srv.sink.stored()); n != 0 {
				t.Fatalf("%d mails stored", n)
			}
			if n := valueOf(srv.metrics.commands.WithLabelValues("MAIL", "2xx")); n != 1 {
				t.Errorf("%v MAIL commands were executed", n)
			}
		})
	}
}

func TestSlowBodyIsClosed(t *testing.T) {
	tests := map[string]struct {
		timeouts Timeouts
		begin    string // behind RCPT
		body     string
	}{
		"minimum rate":            {Timeouts{DataGrace: 200 * time.Millisecond, DataRate: 1000}, "DATA\r\n", strings.Repeat("x", 2000)},
		"total":                   {Timeouts{DataTotal: 300 * time.Millisecond}, "DATA\r\n", strings.Repeat("x", 2000)},
		"minimum rate in a chunk": {Timeouts{DataGrace: 200 * time.Millisecond, DataRate: 1000}, "BDAT 2000\r\n", strings.Repeat("x", 2000)},
		"total over chunks":       {Timeouts{DataTotal: 300 * time.Millisecond}, "", strings.Repeat("BDAT 1\r\nx", 500)},
		"rate over chunks":        {Timeouts{DataGrace: 200 * time.Millisecond, DataRate: 1000}, "", strings.Repeat("BDAT 1\r\nx", 500)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := start(t, Config{Timeouts: test.timeouts}, new(memorySink))
			c := dial(t, srv.addr)
			c.hello()
			c.cmd("MAIL FROM:<a@sender.example>", "250")
			c.cmd("RCPT TO:<u@example.com>", "250")
			c.send(test.begin)
			if test.begin == "DATA\r\n" {
				c.want("354 ")
			}
			began := time.Now()
			sent := c.trickle(test.body, 5*time.Millisecond)
			if took := time.Since(began); sent == len(test.body) || took > 5*time.Second {
				t.Fatalf("the server took %d bytes in %v", sent, took)
			}
			eventually(t, "the mail is dropped", func() bool { return srv.sink.abortedCount() == 1 })
			if valueOf(srv.metrics.timeouts.WithLabelValues("data")) != 1 {
				t.Errorf("not counted as a data timeout:\n%s", srv.log)
			}
		})
	}
}

func TestOverloadShortensPatience(t *testing.T) {
	srv := start(t, Config{MaxConns: 4, Timeouts: Timeouts{Idle: time.Hour, IdleOverload: 100 * time.Millisecond}}, new(memorySink))
	for range 3 {
		dial(t, srv.addr).hello()
	}
	waiting := dial(t, srv.addr)
	waiting.want("220 ") // four of four: overloaded; the watchdog wakes those who wait already
	waiting.want("421 4.4.2")
	waiting.wantClosed()
}

func TestTLSConnectionIsKeptShortAfterAMail(t *testing.T) {
	cfg, roots := withCertificate(t, Config{Timeouts: Timeouts{Idle: time.Hour, IdleAfterTLS: 100 * time.Millisecond}})
	srv := start(t, cfg, new(memorySink))
	c := dial(t, srv.addr)
	c.hello()
	c.startTLS(roots)
	c.cmd("EHLO client.example", "250-")
	c.envelope()
	c.send("x\r\n.\r\n")
	c.want("250 2.0.0")
	c.want("421 4.4.2")
}

// A million commands and nobody reads the answers: the server stops reading, and ends it after the write
// deadline.
func TestReaderStopped(t *testing.T) {
	srv := start(t, Config{Timeouts: Timeouts{Write: 300 * time.Millisecond}}, new(memorySink))
	before := heapInUse()
	c := dial(t, srv.addr)
	c.hello()
	// A mail in each group keeps the junk limit away, so that only the write deadline can end this.
	flood := []byte(strings.Repeat("MAIL FROM:<a@b.example>\r\nRCPT TO:<u@example.com>\r\nBDAT 1 LAST\r\nx"+strings.Repeat("NOOP\r\n", 40), 100))
	sent := 0
	for range 250 { // a million NOOPs
		n, err := c.conn.Write(flood)
		if sent += n; err != nil {
			break
		}
	}
	if sent >= 250*len(flood) {
		t.Fatal("the server read everything although its replies were not")
	}
	eventually(t, "the connection is closed", func() bool {
		srv.mu.Lock()
		defer srv.mu.Unlock()
		return len(srv.conns) == 0
	})
	if n := valueOf(srv.metrics.timeouts.WithLabelValues("write")); n != 1 {
		t.Errorf("timeouts_total{write} is %v", n)
	}
	if grown := heapInUse() - before; grown > 16<<20 {
		t.Errorf("memory grew by %d bytes", grown)
	}
}

// Between its commands a client that has begun another mail has the patience RFC 5321 section 4.5.3.2 asks for, also
// over TLS.
func TestTLSConnectionIsKeptInsideATransaction(t *testing.T) {
	cfg, roots := withCertificate(t, Config{Timeouts: Timeouts{Idle: time.Hour, IdleAfterTLS: 50 * time.Millisecond}})
	srv := start(t, cfg, new(memorySink))
	c := dial(t, srv.addr)
	c.hello()
	c.startTLS(roots)
	c.cmd("EHLO client.example", "250-")
	c.envelope()
	c.send("x\r\n.\r\nMAIL FROM:<a@sender.example>\r\n")
	c.want("250 2.0.0")
	c.want("250 2.1.0")
	_ = c.conn.SetReadDeadline(time.Now().Add(5 * srv.cfg.Timeouts.IdleAfterTLS))
	if b, err := c.r.Peek(1); len(b) > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %q, %v", b, err)
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	c.cmd("RSET", "250")
	c.want("421 4.4.2")
}

// A fast beginning buys no hour of silence: the rate is that of the last DataBlock, not of the whole mail.
func TestBurstDoesNotPayForADrip(t *testing.T) {
	srv := start(t, Config{Timeouts: Timeouts{DataGrace: 200 * time.Millisecond, DataBlock: 300 * time.Millisecond, DataRate: 1000}}, new(memorySink))
	c := dial(t, srv.addr)
	c.hello()
	c.envelope()
	c.send(strings.Repeat("x", 1<<20)) // worth 17 minutes on average
	began := time.Now()
	c.trickle(strings.Repeat("x", 500), 10*time.Millisecond)
	if took := time.Since(began); took > 3*time.Second {
		t.Fatalf("the server took a dripping mail for %v", took)
	}
	eventually(t, "the mail is dropped", func() bool { return srv.sink.abortedCount() == 1 })
	if valueOf(srv.metrics.timeouts.WithLabelValues("data")) != 1 {
		t.Errorf("not counted as a data timeout:\n%s", srv.log)
	}
}
