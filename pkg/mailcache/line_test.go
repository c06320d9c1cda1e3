package mailcache

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailcache/memcachedtest"
)

// scripted is the address of a server that runs serve for each connection.
func scripted(t *testing.T, serve func(net.Conn, *bufio.Reader)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				defer conn.Close()
				serve(conn, bufio.NewReader(conn))
			})
		}
	})
	t.Cleanup(served.Wait)
	t.Cleanup(func() { listener.Close() })
	return listener.Addr().String()
}

// lineTo is a line that ends with the test.
func lineTo(t *testing.T, addr string) *line {
	t.Helper()
	l := newLine(newServers([]string{addr}, time.Now)[0], new(net.Dialer).DialContext)
	t.Cleanup(l.hangUp)
	return l
}

// exchange has a server answer each of these texts.
func exchange(l *line, texts ...string) []error {
	l.forget()
	for i, text := range texts {
		_, _ = l.Write([]byte(text)) // never fails
		l.asked = append(l.asked, i)
	}
	return l.exchange(time.Now().Add(10 * time.Second))
}

// answers gives each request the answer it asks for.
func answers(conn net.Conn, r *bufio.Reader) {
	for {
		text, err := r.ReadString('\n')
		if err != nil || text == "hang up\r\n" {
			return
		}
		if _, err := conn.Write([]byte(text)); err != nil {
			return
		}
	}
}

// What is asked goes in one piece: this server answers none of it before it has all. The real answers count, not those that
// gomemcache gets.
func TestRequestsGoTogether(t *testing.T) {
	const n = 20
	addr := scripted(t, func(conn net.Conn, r *bufio.Reader) {
		for range n {
			if _, err := r.ReadString('\n'); err != nil {
				return
			}
		}
		fmt.Fprint(conn, strings.Repeat("DELETED\r\nNOT_FOUND\r\nSERVER_ERROR no\r\nEXISTS\r\n", n/4))
	})
	c := New(Config{Addrs: []string{addr}, Timeout: 10 * time.Second}, nil, slog.New(slog.DiscardHandler), nil)
	defer c.Close()
	got := map[string]int{}
	s := c.sender("delete_page", func(i int, err error) { got[fmt.Sprint(i%4, result(err))]++ })
	for i := range n {
		s.ask(i, fmt.Sprint("key", i), deleted, func(to *memcache.Client) error { return to.Delete(fmt.Sprint("key", i)) })
	}
	s.ask(3, "no key", deleted, func(to *memcache.Client) error { return to.Delete("no key") })
	s.flush()
	s.release()
	if text := fmt.Sprint(got); text != "map[0ok:5 1miss:5 2error:5 3conflict:5 3error:1]" {
		t.Error(text)
	}
}

// However much is set, an exchange stays short, and so do the buffers.
func TestExchangesAreBounded(t *testing.T) {
	server := memcachedtest.Start(t)
	c := New(Config{Addrs: []string{server.Addr}, Timeout: 10 * time.Second}, nil, slog.New(slog.DiscardHandler), nil)
	defer c.Close()
	s := c.sender("set_message", func(i int, err error) {
		if err != nil {
			t.Errorf("request %d: %v", i, err)
		}
	})
	value, longest := make([]byte, 40_000), 0
	for i := range 60 {
		item := &memcache.Item{Key: fmt.Sprint("key", i), Value: value}
		s.ask(i, item.Key, stored, func(to *memcache.Client) error { return to.Set(item) })
		longest = max(longest, len(s.lines[0].requests))
	}
	item := &memcache.Item{Key: "large", Value: make([]byte, MaxBody)}
	s.ask(60, item.Key, stored, func(to *memcache.Client) error { return to.Set(item) })
	s.flush()
	s.release()
	if longest < groupBytes/2 || longest >= groupBytes || cap(s.lines[0].requests) > keptRoom {
		t.Errorf("up to %d bytes were kept for one exchange, and a buffer of %d afterwards", longest, cap(s.lines[0].requests))
	}
}

func TestLineAfterTrouble(t *testing.T) {
	l := lineTo(t, scripted(t, answers))
	for _, tt := range []struct {
		ask, result string
		keeps       bool
	}{
		{"STORED\r\n", "ok", true},
		{"SERVER_ERROR object too large for cache\r\n", "error", true},
		{"VALUE a 0 1\r\n", "error", false}, // the answer to something else: what follows belongs to nobody
		{"DELETED\r\n", "ok", true},
		{"hang up\r\n", "error", false},
		{"NOT_FOUND\r\n", "miss", true},
	} {
		got := exchange(l, tt.ask)
		if len(got) != 1 || result(got[0]) != tt.result || (l.conn != nil) != tt.keeps {
			t.Errorf("%q: %v, connection kept: %v", tt.ask, got, l.conn != nil)
		}
	}
}

// After an answer that makes no sense, the rest must not take the answers that follow for its own.
func TestNonsenseEndsTheExchange(t *testing.T) {
	l := lineTo(t, scripted(t, answers))
	for i, err := range exchange(l, stored, "nonsense\r\n", stored, deleted) {
		if wrong := errors.Is(err, errAnswer); wrong != (i > 0) {
			t.Errorf("answer %d: %v", i, err)
		}
	}
	if l.conn != nil {
		t.Error("the connection was kept")
	}
}

// A server that has closed a kept connection, as by a restart, costs nothing. One that closes each does not get the same again and
// again.
func TestKeptConnectionThatIsGone(t *testing.T) {
	var conns sync.Map
	l := lineTo(t, scripted(t, func(conn net.Conn, r *bufio.Reader) {
		conns.Store(conn, true)
		if text, err := r.ReadString('\n'); err == nil && text == stored {
			_, _ = conn.Write([]byte(text))
		}
	}))
	for range 5 {
		for _, err := range exchange(l, stored) {
			if err != nil {
				t.Error(err)
			}
		}
	}
	if got := exchange(l, "unliked\r\n"); len(got) != 1 || got[0] == nil {
		t.Errorf("%v", got)
	}
	n := 0
	conns.Range(func(any, any) bool { n++; return true })
	if n != 6 {
		t.Errorf("%d connections, want 6", n)
	}
}

// A server that stops half-way has done what it has answered.
func TestAnswersThatCameCount(t *testing.T) {
	l := lineTo(t, scripted(t, answers))
	for i, err := range exchange(l, stored, deleted, "hang up\r\n", stored) {
		if (err == nil) != (i < 2) {
			t.Errorf("answer %d: %v", i, err)
		}
	}
}

func TestSilentServerCostsTheTimeoutOnce(t *testing.T) {
	addr := scripted(t, func(_ net.Conn, r *bufio.Reader) { _, _ = r.WriteTo(io.Discard) })
	c := New(Config{Addrs: []string{addr}, Timeout: 100 * time.Millisecond}, nil, slog.New(slog.DiscardHandler), nil)
	defer c.Close()
	mails := make([]Mail, 128)
	for i := range mails {
		mails[i] = Mail{ID: ulid.Make(), Envelope: make([]byte, 30_000), Raw: []byte{}} // several exchanges
	}
	start := time.Now()
	for _, outcome := range c.SetMessages(mails) {
		if outcome != Skipped {
			t.Errorf("outcome %v", outcome)
		}
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("128 requests took %v", took)
	}
	l := lineTo(t, addr)
	l.asked = []int{0}
	if err := l.exchange(start)[0]; !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// Many callers at once: each learns what became of its own.
func TestEachCallerGetsItsOwnAnswers(t *testing.T) {
	addr := scripted(t, func(conn net.Conn, r *bufio.Reader) {
		for {
			text, err := r.ReadString('\n')
			if err != nil {
				return
			}
			answer := deleted
			if strings.Contains(text, "odd") {
				answer = "NOT_FOUND\r\n"
			}
			if _, err := conn.Write([]byte(answer)); err != nil {
				return
			}
		}
	})
	c := New(Config{Addrs: []string{addr}, Timeout: 10 * time.Second}, nil, slog.New(slog.DiscardHandler), nil)
	defer c.Close()
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			for range 20 {
				s := c.sender("delete_page", func(i int, err error) {
					if errors.Is(err, memcache.ErrCacheMiss) != (i%2 == 1) {
						t.Errorf("request %d: %v", i, err)
					}
				})
				for i := range 50 {
					key := [2]string{"even", "odd"}[i%2]
					s.ask(i, key, deleted, func(to *memcache.Client) error { return to.Delete(key) })
				}
				s.flush()
				s.release()
			}
		})
	}
	all.Wait()
	if len(c.idle) > idleSenders {
		t.Errorf("%d senders were kept", len(c.idle))
	}
}
