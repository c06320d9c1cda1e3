package mailcache

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// scripted is a line to a server that runs serve for each connection.
func scripted(t *testing.T, serve func(net.Conn, *bufio.Reader)) *line {
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
	return &line{dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", listener.Addr().String())
	}}
}

// caller makes a call that ends with the test.
func caller(t *testing.T, l *line) net.Conn {
	t.Helper()
	c := l.connect("tcp", "somewhere:1")
	t.Cleanup(func() { c.Close() })
	return c
}

// request does what gomemcache does, with a request in two pieces.
func request(c net.Conn, text string) (string, error) {
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	for _, piece := range []string{text[:1], text[1:]} {
		if _, err := c.Write([]byte(piece)); err != nil {
			return "", err
		}
	}
	return bufio.NewReaderSize(c, 16).ReadString('\n')
}

// answers gives each request the answer it asks for.
func answers(conn net.Conn, r *bufio.Reader) {
	for {
		text, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if text == "hang up\r\n" {
			return
		}
		if _, err := conn.Write([]byte(text)); err != nil {
			return
		}
	}
}

func TestEachCallGetsItsOwnAnswer(t *testing.T) {
	l := scripted(t, answers)
	var all sync.WaitGroup
	for i := range 40 {
		c := caller(t, l)
		all.Go(func() {
			for j := range 200 {
				want := fmt.Sprintf("SERVER_ERROR %d/%d %s\r\n", i, j, strings.Repeat("x", i*50))
				if got, err := request(c, want); got != want || err != nil {
					t.Errorf("%q, %v; want %q", got, err, want)
					return
				}
			}
		})
	}
	all.Wait()
}

// waitFor waits until so many requests wait.
func waitFor(t *testing.T, l *line, n int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		l.mu.Lock()
		waiting := len(l.waiting)
		l.mu.Unlock()
		if waiting == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d requests wait, want %d", waiting, n)
		}
	}
}

// What waits while the line is busy goes in one piece: this server answers none of it before it has all.
func TestRequestsThatWaitGoTogether(t *testing.T) {
	const n = 20
	first, busy := make(chan struct{}), make(chan struct{})
	l := scripted(t, func(conn net.Conn, r *bufio.Reader) {
		for _, size := range []int{1, n} {
			for range size {
				if _, err := r.ReadString('\n'); err != nil {
					return
				}
			}
			if size == 1 {
				close(busy)
				<-first
			}
			fmt.Fprint(conn, strings.Repeat("STORED\r\n", size))
		}
	})
	var all sync.WaitGroup
	ask := func() {
		c := caller(t, l)
		all.Go(func() {
			if got, err := request(c, "set\r\n"); got != "STORED\r\n" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	ask()
	<-busy
	for range n {
		ask()
	}
	waitFor(t, l, n)
	close(first)
	all.Wait()
}

func TestGroupsAreBounded(t *testing.T) {
	l := &line{}
	for range 10 {
		l.waiting = append(l.waiting, &call{request: make([]byte, groupBytes/3)})
	}
	var sizes []int
	for len(l.waiting) > 0 {
		sizes = append(sizes, len(l.take()))
	}
	if fmt.Sprint(sizes) != "[4 4 2]" {
		t.Errorf("groups of %v", sizes)
	}
}

func TestLineAfterTrouble(t *testing.T) {
	l := scripted(t, answers)
	c := caller(t, l)
	for _, tt := range []struct {
		ask, got string
		keeps    bool
	}{
		{"STORED\r\n", "STORED\r\n", true},
		{"SERVER_ERROR object too large for cache\r\n", "SERVER_ERROR object too large for cache\r\n", true},
		{"VALUE a 0 1\r\n", "VALUE a 0 1\r\n", false}, // the answer to something else: what follows belongs to nobody
		{"DELETED\r\n", "DELETED\r\n", true},
		{"hang up\r\n", "", false},
		{"NOT_FOUND\r\n", "NOT_FOUND\r\n", true},
	} {
		got, err := request(c, tt.ask)
		if got != tt.got || (err != nil) != (tt.got == "") || (l.conn != nil) != tt.keeps {
			t.Errorf("%q: %q, %v, connection kept: %v", tt.ask, got, err, l.conn != nil)
		}
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("reading without having asked: %v", err)
	}
}

// The rest of a group must not take the answers for its own after one that makes no sense.
func TestNonsenseEndsTheGroup(t *testing.T) {
	l := scripted(t, answers)
	var group []*call
	for _, text := range []string{"STORED\r\n", "nonsense\r\n", "STORED\r\n", "DELETED\r\n"} {
		group = append(group, &call{line: l, request: []byte(text), until: time.Now().Add(10 * time.Second)})
	}
	l.exchange(group)
	for i, c := range group {
		if wrong := errors.Is(c.err, errAnswer); wrong != (i > 1) {
			t.Errorf("call %d: %v", i, c.err)
		}
	}
	if l.conn != nil {
		t.Error("the connection was kept")
	}
}

func TestLastCallClosesTheConnection(t *testing.T) {
	closed := make(chan struct{})
	l := scripted(t, func(conn net.Conn, r *bufio.Reader) {
		answers(conn, r)
		close(closed)
	})
	one, two := l.connect("tcp", "somewhere:1"), l.connect("tcp", "somewhere:1")
	if _, err := request(one, "STORED\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := request(two, "STORED\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := two.Close(); err != nil || !errors.Is(two.Close(), net.ErrClosed) {
		t.Fatal(err)
	}
	<-closed
}

func TestSilentServerCostsTheTimeoutOnce(t *testing.T) {
	l := scripted(t, func(_ net.Conn, r *bufio.Reader) { _, _ = r.WriteTo(io.Discard) })
	var all sync.WaitGroup
	start := time.Now()
	for range 64 {
		c := caller(t, l)
		_ = c.SetDeadline(start.Add(100 * time.Millisecond))
		all.Go(func() {
			_, _ = c.Write([]byte("set\r\n"))
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
		})
	}
	all.Wait()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("64 requests took %v", took)
	}
}
