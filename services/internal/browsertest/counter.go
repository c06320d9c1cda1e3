package browsertest

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
)

// Counter is a server that must not be asked for anything: it keeps every connection, also one that is opened without a
// request, and every request.
type Counter struct {
	mu   sync.Mutex
	seen []string
	addr string
}

// NewCounter listens until the test ends.
func NewCounter(t testing.TB) *Counter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &Counter{addr: listener.Addr().String()}
	var serving sync.WaitGroup
	var mu sync.Mutex
	open := make(map[net.Conn]bool)
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			c.add("connection")
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			serving.Go(func() {
				c.serve(conn)
				mu.Lock()
				delete(open, conn)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		mu.Lock()
		for conn := range open {
			conn.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
	return c
}

func (c *Counter) serve(conn net.Conn) {
	defer conn.Close()
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	c.add(r.Method + " " + r.Host + r.URL.String())
	fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Type: image/gif\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

func (c *Counter) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, what)
}

// Take returns what has come since it was called last.
func (c *Counter) Take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := c.seen
	c.seen = nil
	return seen
}

// Rules resolve every name below .test and .example to the counter, and no other.
func (c *Counter) Rules() string {
	return fmt.Sprintf("MAP *.test %s, MAP *.example %s, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", c.addr, c.addr)
}
