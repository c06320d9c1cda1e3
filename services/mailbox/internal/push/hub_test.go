package push

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/services/internal/reading"
	"github.com/sluice-mail/sluice/services/internal/reading/readingtest"
	"github.com/sluice-mail/sluice/services/mailbox/internal/access"
	"github.com/sluice-mail/sluice/services/mailbox/internal/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ann = "ann@example.com"

// world is a hub behind HTTP, with a database of its own.
type world struct {
	t     *testing.T
	hub   *Hub
	store *readingtest.Database
	addr  string
}

func start(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, store: readingtest.Store(t)}
	logger := slog.New(slog.DiscardHandler)
	reader, err := reading.New(reading.Deps{Store: w.store, Logger: logger, Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	names, err := reading.Naming{}.Names()
	if err != nil {
		t.Fatal(err)
	}
	w.hub = New(Deps{Reader: reader, Names: names, Logger: logger, Metrics: prometheus.NewRegistry()})
	mux := http.NewServeMux()
	mux.Handle("GET /{address}", w.hub)
	server := httptest.NewServer(access.Open().Handler(mux))
	w.addr = server.Listener.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- w.hub.Run(ctx, nil) }()
	t.Cleanup(func() {
		w.hub.Close()
		server.Close()
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		reader.Close()
	})
	return w
}

// put stores a mail; announced says whether the hub is told.
func (w *world) put(announced bool, subject string) ulid.ULID {
	w.t.Helper()
	id := readingtest.Put(w.t, w.store, "Subject: "+subject+"\r\n\r\nx\r\n", ann)
	if announced {
		w.hub.Stored([]stream.StoredMail{{ID: id, Mailboxes: []string{ann}}})
	}
	return id
}

// client reads a stream.
type client struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func (w *world) connect(last string) *client {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	header := ""
	if last != "" {
		header = "Last-Event-ID: " + last + "\r\n"
	}
	if _, err := io.WriteString(conn, "GET /"+ann+" HTTP/1.1\r\nHost: localhost\r\n"+header+"\r\n"); err != nil {
		w.t.Fatal(err)
	}
	c := &client{w.t, conn, bufio.NewReader(conn)}
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	for line := ""; line != ": connected"; line = c.line() {
	}
	return c
}

func (c *client) line() string {
	c.t.Helper()
	line, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("reading the stream: %v", err)
	}
	return strings.TrimRight(line, "\r\n")
}

// event reads up to the next event and returns its id and its data.
func (c *client) event() (id, data string) {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	for {
		line := c.line()
		if after, ok := strings.CutPrefix(line, "id: "); ok {
			id = after
		}
		if after, ok := strings.CutPrefix(line, "data: "); ok {
			return id, after
		}
	}
}

func (c *client) want(mail ulid.ULID) (id string) {
	c.t.Helper()
	id, data := c.event()
	if !strings.HasSuffix(id, "-"+mail.String()) || !strings.Contains(data, `"id":"`+mail.String()+`"`) {
		c.t.Fatalf("got %s %s, want mail %s", id, data, mail)
	}
	return id
}

func TestNewMailIsTold(t *testing.T) {
	w := start(t)
	one, two := w.connect(""), w.connect("")
	mail := w.put(true, "hello")
	one.want(mail)
	two.want(mail)
}

// An announcement that is lost costs a moment, no mail.
func TestLostAnnouncement(t *testing.T) {
	w := start(t)
	c := w.connect("")
	c.want(w.put(false, "nobody said so"))
	c.want(w.put(true, "somebody did"))
}

// Who resumes gets what he has missed; of what he is sent twice he knows the id.
func TestResume(t *testing.T) {
	w := start(t)
	c := w.connect("")
	first := w.put(true, "first")
	last := c.want(first)
	c.conn.Close()
	missed := map[string]bool{}
	for i := range 450 {
		missed[w.put(i%2 == 0, fmt.Sprint(i)).String()] = true
	}
	c = w.connect(last)
	for len(missed) > 0 {
		id, _ := c.event()
		mail := id[strings.IndexByte(id, '-')+1:]
		if !missed[mail] && mail != first.String() {
			t.Fatalf("%s came twice on one connection, or is unknown", mail)
		}
		delete(missed, mail)
	}
	c.want(w.put(true, "and it goes on"))
}

func TestIDsOfEvents(t *testing.T) {
	for text, ok := range map[string]bool{
		"1764390000123-01KB0000000000000000000000": true, "": false, "5": false, "-01KB0000000000000000000000": false,
		"x-01KB0000000000000000000000": false, "1-2": false, "99999999999999999999-01KB0000000000000000000000": false,
		"-5-01KB0000000000000000000000": false, "1764390000123-01KB0000000000000000000000\nid: 7": false,
	} {
		c, got := parseCursor(text)
		if got != ok || ok && c.String() != text {
			t.Errorf("%q: %v, %v", text, c, got)
		}
	}
	w := start(t)
	resp, err := http.Get("http://" + w.addr + "/" + ann + "?after=nonsense")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("nonsense as an id: %s", resp.Status)
	}
	http.DefaultClient.CloseIdleConnections()
}

// A reader that does not read is cut off, and holds up nobody.
func TestSleepingReader(t *testing.T) {
	w := start(t)
	asleep, awake := w.connect(""), w.connect("")
	_ = asleep.conn.(*net.TCPConn).SetReadBuffer(4096)
	for i := 0; counter(w.hub.metrics.readers) > 1; i++ {
		if i == 200 {
			t.Fatal("the sleeping reader is still there")
		}
		// As the hub would, but thousands at once.
		events := make([]*event, 100)
		for i := range events {
			events[i] = &event{ulid.Make(), []byte("id: 1-x\ndata: " + strings.Repeat("x", 4000) + "\n\n")}
		}
		w.hub.mu.Lock()
		for r := range w.hub.boxes[ann].readers {
			r.tell(events)
		}
		w.hub.mu.Unlock()
		for range events {
			awake.event()
		}
	}
	awake.want(w.put(true, "still there"))
}

// A stream says that it is alive although its mailbox is looked at all the time and nothing is found; and so it notices that
// its reader has gone.
func TestHeartbeat(t *testing.T) {
	w := start(t)
	w.hub.heartbeat = 3 * checkEvery / 2
	c := w.connect("")
	_ = c.conn.SetReadDeadline(time.Now().Add(time.Minute))
	for range 2 {
		for c.line() != ": alive" {
		}
	}
	_ = c.conn.(*net.TCPConn).SetLinger(0)
	c.conn.Close()
	deadline := time.After(time.Minute)
	for counter(w.hub.metrics.readers) > 0 {
		select {
		case <-deadline:
			t.Fatal("a reader that has gone keeps his place")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func TestManyReadersOfOneMailbox(t *testing.T) {
	w := start(t)
	const readers = 1000
	var clients []*client
	for range readers {
		clients = append(clients, w.connect(""))
	}
	began := time.Now()
	mail := w.put(true, "to all")
	var all sync.WaitGroup
	for _, c := range clients {
		all.Go(func() {
			for line, err := c.r.ReadString('\n'); ; line, err = c.r.ReadString('\n') {
				if err != nil {
					t.Error(err)
					return
				}
				if strings.HasPrefix(line, "data: ") && strings.Contains(line, mail.String()) {
					return
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d readers were told after %v", readers, time.Since(began))
}

// At the stop a stream ends, and is not just cut.
func TestCloseEndsStreams(t *testing.T) {
	w := start(t)
	c := w.connect("")
	w.hub.Close()
	rest, err := io.ReadAll(c.r)
	if err != nil || !strings.Contains(string(rest), "this server stops") {
		t.Errorf("%q, %v", rest, err)
	}
	if err := w.hub.Wait(t.Context(), ann, func(context.Context) (bool, error) { return false, nil }); !errors.Is(err, api.ErrCrowded) {
		t.Errorf("waiting after the end: %v", err)
	}
}

// A long poll ends with the mail, announced or not, and with its time.
func TestWait(t *testing.T) {
	w := start(t)
	for _, announced := range []bool{true, false} {
		looks, looked := 0, make(chan struct{}, 10)
		done := make(chan error, 1)
		go func() {
			done <- w.hub.Wait(t.Context(), ann, func(ctx context.Context) (bool, error) {
				looks++
				entries, err := w.store.StoredSince(ctx, ann, time.Now().Add(-time.Hour), 100)
				looked <- struct{}{}
				return len(entries) > 0 && looks > 1, err
			})
		}()
		<-looked
		w.put(announced, "x")
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := w.hub.Wait(ctx, "nobody@example.com", func(context.Context) (bool, error) { return false, nil }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a wait whose time is up: %v", err)
	}
	if n := counter(w.hub.metrics.readers); n != 0 {
		t.Errorf("%v readers are left", n)
	}
}

func TestOneMailboxHasSoManyReaders(t *testing.T) {
	w := start(t)
	join := func(mailbox string) {
		t.Helper()
		r := newReader(netip.Prefix{})
		if err := w.hub.join(mailbox, r); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.hub.leave(mailbox, r) })
	}
	for range MaxPerMailbox {
		join(ann)
	}
	resp, err := http.Get("http://" + w.addr + "/" + ann)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
	}
	join("ben@example.com") // another mailbox is not crowded
	http.DefaultClient.CloseIdleConnections()
}

// TestOneClientHasSoManyReaders: somebody who opens streams and leaves them does not take them from everybody else.
func TestOneClientHasSoManyReaders(t *testing.T) {
	w := start(t)
	w.hub.deps.PerClient = 3
	home, other := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32")
	var joined []*reader
	for i := range 3 {
		r := newReader(home)
		if err := w.hub.join(fmt.Sprintf("box%d@example.com", i), r); err != nil {
			t.Fatal(err)
		}
		joined = append(joined, r)
	}
	if err := w.hub.join(ann, newReader(home)); !errors.Is(err, api.ErrCrowded) {
		t.Errorf("a fourth reader of the same client: %v", err)
	}
	stranger := newReader(other)
	if err := w.hub.join(ann, stranger); err != nil {
		t.Errorf("a reader of another client: %v", err)
	}
	w.hub.leave("box0@example.com", joined[0])
	again := newReader(home)
	if err := w.hub.join(ann, again); err != nil {
		t.Errorf("a reader in the place of one that left: %v", err)
	}
	w.hub.leave(ann, again)
	w.hub.leave(ann, stranger)
	w.hub.leave("box1@example.com", joined[1])
	w.hub.leave("box2@example.com", joined[2])
	if len(w.hub.clients) != 0 {
		t.Errorf("clients are still counted: %v", w.hub.clients)
	}
}

func counter(m prometheus.Metric) float64 {
	var d dto.Metric
	_ = m.Write(&d)
	return d.GetGauge().GetValue() + d.GetCounter().GetValue()
}
