package smtpd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/mail"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/smtp"
	"github.com/sluice-mail/sluice/pkg/smtpd/limits"
	"github.com/sluice-mail/sluice/pkg/smtpd/spool"
)

// flood writes text n times or until the server has had enough.
func flood(conn net.Conn, text []byte, n int) (sent int) {
	for range n {
		if _, err := conn.Write(text); err != nil {
			return sent
		}
		sent++
	}
	return sent
}

// served checks that another client gets its mail through.
func served(t *testing.T, srv *running) {
	t.Helper()
	if err := sendOne(srv.addr); err != nil {
		t.Fatalf("another client is not served: %v", err)
	}
}

func TestHundredThousandRecipients(t *testing.T) {
	for name, rcpt := range map[string]string{"accepted": "RCPT TO:<u%d@example.com>\r\n", "refused": "RCPT TO:<u%d@refused.example>\r\n"} {
		t.Run(name, func(t *testing.T) {
			srv := start(t, Config{}, new(memorySink))
			before := heapInUse()
			c := dial(t, srv.addr)
			c.hello()
			c.cmd("MAIL FROM:<a@sender.example>", "250")
			go func() {
				var b bytes.Buffer
				for i := range 100_000 {
					fmt.Fprintf(&b, rcpt, i)
					if b.Len() > 16<<10 {
						if _, err := c.conn.Write(b.Bytes()); err != nil {
							return
						}
						b.Reset()
					}
				}
			}()
			replies := make(map[string]int)
			for {
				line, err := c.r.ReadString('\n')
				if err != nil {
					break
				}
				replies[line[:3]]++
			}
			if replies["421"] != 1 {
				t.Errorf("replies %v: want the session to be ended by a 421", replies)
			}
			if want := map[string]int{"accepted": 100, "refused": 0}[name]; replies["250"] != want {
				t.Errorf("%d recipients accepted, want %d", replies["250"], want)
			}
			if grown := heapInUse() - before; grown > 8<<20 {
				t.Errorf("memory grew by %d bytes", grown)
			}
			served(t, srv)
		})
	}
}

func TestLineWithoutEnd(t *testing.T) {
	srv := start(t, Config{MaxMessageBytes: 1 << 20}, &memorySink{discard: true})
	before := heapInUse()
	t.Run("as a command", func(t *testing.T) {
		c := dial(t, srv.addr)
		c.hello()
		block := bytes.Repeat([]byte("x"), 1<<20)
		if sent := flood(c.conn, block, 100); sent == 100 {
			t.Error("the server read all 100 MB")
		}
	})
	t.Run("as a mail", func(t *testing.T) {
		c := dial(t, srv.addr)
		c.hello()
		c.envelope()
		block := bytes.Repeat([]byte("x"), 1<<20)
		if sent := flood(c.conn, block, 100); sent == 100 {
			t.Error("the server read 100 MB of a mail of 1 MB at most")
		}
	})
	if grown := heapInUse() - before; grown > 8<<20 {
		t.Errorf("memory grew by %d bytes", grown)
	}
	if n := len(srv.sink.stored()); n != 0 {
		t.Errorf("%d mails stored", n)
	}
	served(t, srv)
}

func TestDisconnectInsideAMailStoresNothing(t *testing.T) {
	srv := start(t, Config{}, new(memorySink))
	for i, text := range []string{"", "half a mail", "a mail without its dot\r\n", "nearly\r\n.", "nearly\r\n.\r"} {
		c := dial(t, srv.addr)
		c.hello()
		c.envelope()
		c.send(text)
		if i%2 == 0 {
			_ = c.conn.(*net.TCPConn).SetLinger(0) // a reset and not an end
		}
		_ = c.conn.Close()
		eventually(t, "the mail is dropped", func() bool { return srv.sink.abortedCount() == i+1 })
	}
	if n := len(srv.sink.stored()); n != 0 {
		t.Fatalf("%d mails stored", n)
	}
	if n := valueOf(srv.metrics.messages.WithLabelValues("aborted")); n != 5 {
		t.Errorf("aborted is %v", n)
	}
}

// What a client says about itself ends up in header fields: it must stay one line, one field.
func TestHeaderInjectionOverTheWire(t *testing.T) {
	srv := start(t, Config{}, new(memorySink))
	for _, evil := range []string{
		"EHLO x\rX-Evil: 1", "EHLO x\nX-Evil: 1", "EHLO x\x00y", "EHLO (\r\n X-Evil: 1)", "EHLO x;\tfrom evil", "EHLO \"x", "EHLO x) by evil (",
	} {
		c := dial(t, srv.addr)
		c.want("220 ")
		c.send(evil + "\r\nMAIL FROM:<\"a\\\"b\"@sender.example>\r\nRCPT TO:<u@example.com>\r\nDATA\r\n")
		_, _ = c.r.ReadString('\n')
		_ = c.conn.Close()

		c = dial(t, srv.addr)
		c.want("220 ")
		c.send(evil + "\r\n")
		if line, err := c.r.ReadString('\n'); err != nil || line[0] != '2' {
			continue // refused: fine
		}
		for line := "250-"; len(line) > 3 && line[3] == '-'; {
			line, _ = c.r.ReadString('\n')
		}
		c.send("MAIL FROM:<\"a\\\"b X-Evil: 1\"@sender.example>\r\n")
		if c.reply()[0] != '2' {
			continue
		}
		c.cmd("RCPT TO:<u@example.com>", "250")
		c.cmd("DATA", "354")
		c.send("Subject: x\r\n\r\nx\r\n.\r\n")
		c.want("250")
	}
	for _, env := range srv.sink.envs {
		env.Id, env.ReceivedAt = make([]byte, 16), 1
		text := string(smtp.TraceHeaders(env, "u@example.com"))
		m, err := mail.ReadMessage(strings.NewReader(text + "\r\n"))
		if err != nil {
			t.Fatalf("%v in %q", err, text)
		}
		if len(m.Header) != 3 || len(m.Header["X-Evil"]) > 0 {
			t.Errorf("fields are %v", m.Header)
		}
	}
}

// spoolSink keeps mail in a spool, as the ingress does.
type spoolSink struct{ pool *spool.Pool }

type spoolDelivery struct{ b *spool.Buffer }

func (s spoolSink) Ready() error { return s.pool.Full() }

func (s spoolSink) Begin(tx *Transaction) (Delivery, error) {
	b, err := s.pool.Begin(limits.NetworkOf(tx.Peer.Client.Addr()), func() {
		tx.Drop(smtp.Reply{Code: 421, Enhanced: "4.3.1", Text: "Too slow"})
	})
	return spoolDelivery{b}, err
}

func (d spoolDelivery) Write(p []byte) error {
	_, err := d.b.Write(p)
	return err
}

func (d spoolDelivery) Commit(context.Context, uint64) (string, error) {
	return strconv.FormatInt(d.b.Size(), 10), d.b.Close()
}

func (d spoolDelivery) Abort() { _ = d.b.Close() }

// Three hundred clients each trickle a mail that is too large for memory.
func TestManyLargeTricklingMails(t *testing.T) {
	reg := prometheus.NewRegistry()
	const budget = 4 << 20
	pool, err := spool.New(spool.Config{Dir: t.TempDir(), Memory: budget, MaxDisk: 1 << 30}, reg)
	if err != nil {
		t.Fatal(err)
	}
	srv := startWith(t, Config{MaxConnsPerIP: -1, MaxConnsPerNet: -1}, new(memorySink), func(s *Server) { s.sink = spoolSink{pool} })
	before := heapInUse()
	defer func() {
		if t.Failed() {
			t.Logf("log:\n%.3000s", srv.log)
		}
	}()
	clients := make([]*client, 300)
	for i := range clients {
		clients[i] = dial(t, srv.addr)
		clients[i].hello()
		clients[i].envelope()
	}
	block := strings.Repeat("a trickling line\r\n", 1000)
	for range 30 { // 540 KB each
		for _, c := range clients {
			c.send(block)
		}
	}
	eventually(t, "everything is in the spool", func() bool {
		memory, disk := pool.InUse()
		return memory+disk > 150<<20
	})
	if memory, _ := pool.InUse(); memory > budget {
		t.Errorf("the spool holds %d bytes of memory, budget %d", memory, budget)
	}
	if grown := heapInUse() - before; grown > budget+24<<20 {
		t.Errorf("memory grew by %d bytes", grown)
	}
	served(t, srv)
	for _, c := range clients[:150] {
		c.send(".\r\n")
		c.want("250 2.0.0 Ok: queued as 540000")
	}
	for _, c := range clients[150:] {
		_ = c.conn.Close()
	}
	eventually(t, "the spool is empty", func() bool {
		memory, disk := pool.InUse()
		return memory == 0 && disk == 0
	})
}

func TestSpoolFullIs452(t *testing.T) {
	pool, err := spool.New(spool.Config{Dir: t.TempDir(), Memory: 64 << 10, MaxDisk: 1 << 20}, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	srv := startWith(t, Config{}, new(memorySink), func(s *Server) { s.sink = spoolSink{pool} })
	c := dial(t, srv.addr)
	c.hello()
	c.envelope()
	line := strings.Repeat("x", 998) + "\r\n"
	c.send(strings.Repeat(line, 2000) + ".\r\n")
	c.want("451 4.3.0") // the spool's error is not a Reply here; the ingress makes it 452
	c.envelope()        // its room is free again
	c.send("small\r\n.\r\n")
	c.want("250 2.0.0")
	if memory, disk := pool.InUse(); memory != 0 || disk != 0 {
		t.Errorf("%d bytes of memory and %d of disk still in use", memory, disk)
	}
}

// Bytes in are bytes stored, by DATA and by BDAT (promise 5).
func TestBytesInAreBytesStored(t *testing.T) {
	n := 2000
	if testing.Short() {
		n = 200
	}
	for _, by := range []string{"DATA", "BDAT"} {
		t.Run(by, func(t *testing.T) {
			srv := start(t, Config{MaxConnsPerIP: -1, MaxConnsPerNet: -1}, new(memorySink))
			const workers = 4
			var wg sync.WaitGroup
			sent := make([]map[string]int, workers)
			for w := range workers {
				sent[w] = make(map[string]int)
				wg.Go(func() {
					rnd := rand.New(rand.NewPCG(uint64(w), 7))
					c := dial(t, srv.addr)
					c.hello()
					for range n / workers {
						text := generateMail(rnd, by == "BDAT")
						sent[w][string(text)]++
						if by == "DATA" {
							c.sendData(rnd, text)
						} else {
							c.sendChunks(rnd, text)
						}
					}
				})
			}
			wg.Wait()
			want := make(map[string]int)
			for _, m := range sent {
				for text, k := range m {
					want[text] += k
				}
			}
			stored := srv.sink.stored()
			if len(stored) != n {
				t.Fatalf("%d mails stored, %d sent", len(stored), n)
			}
			for _, text := range stored {
				want[string(text)]--
			}
			for text, k := range want {
				if k != 0 {
					t.Fatalf("sent but not stored as sent (%d): %.80q, %d bytes", k, text, len(text))
				}
			}
		})
	}
}

// generateMail makes a mail the line-ending table accepts: 8-bit, NUL, long lines, dots, mixed endings, empty.
// Only BDAT can carry a bare CR or an end without a line ending.
func generateMail(rnd *rand.Rand, chunked bool) []byte {
	var b []byte
	for range rnd.IntN(40) {
		switch rnd.IntN(8) {
		case 0:
			b = append(b, strings.Repeat(".", 1+rnd.IntN(4))...)
		case 1:
			b = append(b, '.', byte('a'+rnd.IntN(26)))
		case 2:
			b = append(b, bytes.Repeat([]byte{byte(rnd.IntN(26) + 'a')}, rnd.IntN(5000))...)
		case 3:
			b = append(b, 0, 0xff, 0xc3, 0x28, '\t')
		case 4: // an LF that is not beside a dot
			b = append(b, "x\ny"...)
		default:
			b = append(b, "an ordinary line of text"...)
		}
		if chunked && rnd.IntN(10) == 0 {
			b = append(b, '\r', 'x')
			continue
		}
		b = append(b, '\r', '\n')
	}
	if chunked && rnd.IntN(2) == 0 {
		b = append(b, "no final newline"...)
	}
	return b
}

// sendData stuffs and sends in pieces of random size.
func (c *client) sendData(rnd *rand.Rand, text []byte) {
	c.envelope()
	wire := text
	if bytes.HasPrefix(wire, []byte(".")) {
		wire = append([]byte("."), wire...)
	}
	wire = bytes.ReplaceAll(wire, []byte("\r\n."), []byte("\r\n.."))
	wire = append(wire[:len(wire):len(wire)], ".\r\n"...)
	for len(wire) > 0 {
		k := min(len(wire), 1+rnd.IntN(20000))
		c.send(string(wire[:k]))
		wire = wire[k:]
	}
	c.want("250 2.0.0")
}

func (c *client) sendChunks(rnd *rand.Rand, text []byte) {
	c.cmd("MAIL FROM:<a@sender.example>", "250")
	c.cmd("RCPT TO:<u@example.com>", "250")
	for len(text) > 0 && rnd.IntN(4) > 0 {
		k := 1 + rnd.IntN(len(text))
		c.send(fmt.Sprintf("BDAT %d\r\n%s", k, text[:k]))
		c.want("250 2.0.0")
		text = text[k:]
	}
	c.send(fmt.Sprintf("BDAT %d LAST\r\n%s", len(text), text))
	c.want("250 2.0.0")
}

// Mails the table refuses get 550 and leave nothing, and the session goes on.
func TestRefusedLineEndingsLeaveNothing(t *testing.T) {
	srv := start(t, Config{}, new(memorySink))
	c := dial(t, srv.addr)
	c.hello()
	texts := []string{"a\rb\r\n", "a\n.\r\n", "a\n.b\r\n", "a\r\n.\nb\r\n", "\r\r\n", "a\r"}
	for _, text := range texts {
		c.envelope()
		c.send(text + "\r\n.\r\n")
		c.want("550 5.5.2")
	}
	if len(srv.sink.stored()) != 0 {
		t.Errorf("stored %q", srv.sink.stored())
	}
	if n := srv.sink.abortedCount() + srv.sink.openCount(); n != len(texts) {
		t.Errorf("%d deliveries of %d dropped", n, len(texts))
	}
	c.envelope()
	c.send("fine\r\n.\r\n")
	c.want("250 2.0.0")
}

// Not seen by a client, but by the next one: a session that fails must not keep a buffer or a place.
func TestManyAbortedSessions(t *testing.T) {
	n := 3000
	if testing.Short() {
		n = 300
	}
	srv := start(t, Config{MaxConnsPerIP: -1, MaxConnsPerNet: -1}, &memorySink{discard: true})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range n / 8 {
				conn, err := net.Dial("tcp", srv.addr)
				if err != nil {
					t.Error(err)
					return
				}
				_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
				text := "EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<u@example.com>\r\nDATA\r\nhalf"
				_, _ = io.WriteString(conn, text[:(i*7+w)%len(text)])
				if i%3 == 0 {
					_ = conn.(*net.TCPConn).SetLinger(0)
				}
				_ = conn.Close()
			}
		})
	}
	wg.Wait()
	served(t, srv)
	eventually(t, "all sessions are gone", func() bool {
		srv.mu.Lock()
		defer srv.mu.Unlock()
		return len(srv.conns) == 0
	})
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil && len(fds) > 200 {
		t.Errorf("%d file descriptors open", len(fds))
	}
}
