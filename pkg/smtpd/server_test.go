package smtpd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/sluice-mail/sluice/pkg/smtp"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// memorySink keeps what was committed.
type memorySink struct {
	mu       sync.Mutex
	mails    [][]byte
	envs     []*mailv1.Envelope
	aborted  int
	open     int
	readyErr error
	discard  bool                            // keep only digests
	onCommit func(ctx context.Context) error // runs before the mail counts
}

func (s *memorySink) Ready() error { return s.readyErr }

func (s *memorySink) Begin(tx *Transaction) (Delivery, error) {
	s.mu.Lock()
	s.open++
	s.mu.Unlock()
	return &memoryDelivery{sink: s, env: tx.Envelope}, nil
}

func (s *memorySink) stored() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([][]byte(nil), s.mails...)
}

func (s *memorySink) abortedCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.aborted
}

func (s *memorySink) openCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

type memoryDelivery struct {
	sink *memorySink
	env  *mailv1.Envelope
	body bytes.Buffer
	done bool
}

func (d *memoryDelivery) Write(p []byte) error {
	if !d.sink.discard {
		d.body.Write(p)
	}
	return nil
}

func (d *memoryDelivery) finish() {
	if d.done {
		panic("a delivery was ended twice")
	}
	d.done = true
	d.sink.open--
}

func (d *memoryDelivery) Commit(ctx context.Context, flags uint64) (string, error) {
	if d.sink.onCommit != nil {
		if err := d.sink.onCommit(ctx); err != nil {
			d.sink.mu.Lock()
			defer d.sink.mu.Unlock()
			d.finish()
			return "", err
		}
	}
	d.sink.mu.Lock()
	defer d.sink.mu.Unlock()
	d.finish()
	d.env.Flags = flags
	d.sink.mails = append(d.sink.mails, d.body.Bytes())
	d.sink.envs = append(d.sink.envs, d.env)
	return fmt.Sprintf("id%d", len(d.sink.mails)), nil
}

func (d *memoryDelivery) Abort() {
	d.sink.mu.Lock()
	defer d.sink.mu.Unlock()
	d.finish()
	d.sink.aborted++
}

// anyRecipient accepts everything.
type anyRecipient struct{}

func (anyRecipient) Mail(context.Context, *Transaction) error { return nil }

func (anyRecipient) Rcpt(_ context.Context, _ *Transaction, r smtp.Rcpt) (string, error) {
	if r.Domain == "refused.example" {
		return "", smtp.Reply{Code: 550, Enhanced: "5.1.1", Text: "No such user", Reason: "unknown_recipient"}
	}
	return strings.ToLower(r.Local + "@" + r.Domain), nil
}

// running is a server under test.
type running struct {
	*Server
	addr string
	sink *memorySink
	log  *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// start runs a server on a free port until the end of the test, and then looks that nothing is left of it.
func start(t testing.TB, cfg Config, sink *memorySink) *running {
	t.Helper()
	return startKind(t, cfg, sink, ListenerPlain)
}

func startKind(t testing.TB, cfg Config, sink *memorySink, kind ListenerKind) *running {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, l, cfg, sink, kind, nil)
}

// startWith lets a test change the server before it serves.
func startWith(t testing.TB, cfg Config, sink *memorySink, prepare func(*Server)) *running {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, l, cfg, sink, ListenerPlain, prepare)
}

func serveOn(t testing.TB, l net.Listener, cfg Config, sink *memorySink, kind ListenerKind, prepare func(*Server)) *running {
	t.Helper()
	if cfg.Hostname == "" {
		cfg.Hostname = "mx.example.com"
	}
	r := &running{sink: sink, log: new(syncBuffer)}
	logger := slog.New(slog.NewJSONHandler(r.log, nil))
	srv, err := NewServer(cfg, sink, anyRecipient{}, logger, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	r.Server, r.addr = srv, l.Addr().String()
	if prepare != nil {
		prepare(srv)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l, kind) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		srv.mu.Lock()
		defer srv.mu.Unlock()
		if conns, addresses, networks := srv.limits.Held(); len(srv.conns) != 0 || conns != 0 || addresses != 0 || networks != 0 {
			t.Errorf("left after shutdown: %d connections, counts %d, %d addresses, %d networks", len(srv.conns), conns, addresses, networks)
		}
		if n := valueOf(srv.metrics.panics); n != 0 {
			t.Errorf("%v sessions panicked:\n%s", n, r.log)
		}
		if n := valueOf(srv.metrics.active); n != 0 {
			t.Errorf("sluice_smtp_sessions_active is %v after shutdown", n)
		}
	})
	return r
}

// client is the other side of a dialogue.
type client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func dial(t testing.TB, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return newClient(t, conn)
}

func newClient(t testing.TB, conn net.Conn) *client {
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	return &client{t: t, conn: conn, r: bufio.NewReader(conn)}
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.t.Fatalf("sending %.40q: %v", s, err)
	}
}

// reply reads one reply, all its lines.
func (c *client) reply() string {
	c.t.Helper()
	all := ""
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("reading a reply: %v (so far %q)", err, all+line)
		}
		if all += line; len(line) < 4 || line[3] != '-' {
			return strings.TrimSuffix(all, "\r\n")
		}
	}
}

// want reads a reply and checks how it begins.
func (c *client) want(prefix string) string {
	c.t.Helper()
	got := c.reply()
	if !strings.HasPrefix(got, prefix) {
		c.t.Fatalf("got reply %q, want %q", got, prefix)
	}
	return got
}

// cmd sends a line and wants a reply.
func (c *client) cmd(line, prefix string) string {
	c.t.Helper()
	c.send(line + "\r\n")
	return c.want(prefix)
}

// wantClosed checks that nothing but the end comes.
func (c *client) wantClosed() {
	c.t.Helper()
	rest, err := io.ReadAll(c.r)
	if len(rest) > 0 {
		c.t.Fatalf("got %q, want the end of the connection", rest)
	}
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		c.t.Fatal("the connection is still open")
	}
}

// hello gets through the greeting.
func (c *client) hello() {
	c.t.Helper()
	c.want("220 ")
	c.cmd("EHLO client.example", "250-")
}

// envelope gets to the 354.
func (c *client) envelope() {
	c.t.Helper()
	c.cmd("MAIL FROM:<a@sender.example>", "250 2.1.0")
	c.cmd("RCPT TO:<u@example.com>", "250 2.1.5")
	c.cmd("DATA", "354 ")
}

// eventually polls until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen in time: %s", what)
		}
		<-tick.C
	}
}

func TestServerTakesAMail(t *testing.T) {
	srv := start(t, Config{}, new(memorySink))
	c := dial(t, srv.addr)
	c.hello()
	for i := range 3 {
		c.envelope()
		c.send("Subject: x\r\n\r\nhello\r\n..dot\r\n.\r\n")
		c.want(fmt.Sprintf("250 2.0.0 Ok: queued as id%d", i+1))
	}
	c.cmd("QUIT", "221 2.0.0")
	c.wantClosed()
	mails := srv.sink.stored()
	if len(mails) != 3 || string(mails[2]) != "Subject: x\r\n\r\nhello\r\n.dot\r\n" {
		t.Fatalf("stored %q", mails)
	}
	eventually(t, "the connection is over", func() bool {
		srv.mu.Lock()
		defer srv.mu.Unlock()
		return len(srv.conns) == 0
	})
	text := srv.log.String()
	if strings.Count(text, "mail accepted") != 3 || strings.Contains(text, "session ended") || strings.Contains(text, "u@example.com") || !strings.Contains(text, "@example.com") {
		t.Errorf("log is\n%s", text)
	}
	if n := valueOf(srv.metrics.messages.WithLabelValues("accepted")); n != 3 {
		t.Errorf("accepted counter is %v", n)
	}
	if n := valueOf(srv.metrics.commands.WithLabelValues("MAIL", "2xx")); n != 3 {
		t.Errorf("MAIL counter is %v", n)
	}
}

// The end of a session is not put off by the bytes of its QUIT: the client need not close first.
func TestNothingLingersAfterQuit(t *testing.T) {
	srv := start(t, Config{}, new(memorySink))
	fastest := lingerTime
	for range 5 {
		c := dial(t, srv.addr)
		c.hello()
		c.cmd("QUIT", "221 2.0.0")
		answered := time.Now()
		eventually(t, "the connection is over", func() bool {
			srv.mu.Lock()
			defer srv.mu.Unlock()
			return len(srv.conns) == 0
		})
		fastest = min(fastest, time.Since(answered))
	}
	if fastest >= lingerTime/2 {
		t.Errorf("the server holds on to a connection for %v after QUIT", fastest)
	}
}

// sendOne is a whole session without a test to fail: an error means that the mail was not accepted.
func sendOne(addr string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	r := bufio.NewReader(conn)
	for _, step := range []struct{ send, want string }{
		{"", "220"}, {"EHLO client.example\r\n", "250"}, {"MAIL FROM:<a@sender.example>\r\n", "250"},
		{"RCPT TO:<u@example.com>\r\n", "250"}, {"DATA\r\n", "354"}, {"Subject: x\r\n\r\nhello\r\n.\r\n", "250"},
	} {
		if _, err := io.WriteString(conn, step.send); err != nil {
			return err
		}
		for more := true; more; {
			line, err := r.ReadString('\n')
			if err != nil {
				return err
			}
			if len(line) < 4 || line[:3] != step.want {
				return fmt.Errorf("got reply %q, want %s", line, step.want)
			}
			more = line[3] == '-'
		}
	}
	_, err = io.WriteString(conn, "QUIT\r\n")
	return err
}

func newTestMetrics(t testing.TB) *metrics {
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// valueOf reads a counter or a gauge.
func valueOf(m prometheus.Metric) float64 {
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		panic(err)
	}
	if d.Counter != nil {
		return d.Counter.GetValue()
	}
	return d.Gauge.GetValue()
}
