package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// child is a running server process.
type child struct {
	addr string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
}

func startChild(ctx context.Context, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{"serve"}, args...)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a server process: %w", err)
	}
	c := &child{cmd: cmd, in: in, out: bufio.NewReader(out)}
	addr, err := c.out.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("the server process %q ended before it listened: %w", args[0], err)
	}
	c.addr = strings.TrimSpace(addr)
	return c, nil
}

// cpu is the processor time used up to now.
func (c *child) cpu() (time.Duration, error) {
	if _, err := fmt.Fprintln(c.in); err != nil {
		return 0, err
	}
	text, err := c.out.ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("asking a server process: %w", err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return time.Duration(n), err
}

func (c *child) stop() error {
	_ = c.in.Close()
	return c.cmd.Wait()
}

// result is one measurement.
type result struct {
	took      time.Duration
	used      time.Duration
	latencies []time.Duration // in order
}

func (r result) rate() float64 { return float64(len(r.latencies)) / r.took.Seconds() }
func (r result) cpu() float64  { return float64(r.used.Microseconds()) / float64(len(r.latencies)) }
func (r result) p50() float64  { return r.percentile(50) }
func (r result) p99() float64  { return r.percentile(99) }

func (r result) percentile(p int) float64 {
	return float64(r.latencies[(len(r.latencies)-1)*p/100].Microseconds()) / 1000
}

// measure warms the server up with each path once, and then asks for them in turn.
func (w *world) measure(ctx context.Context, t trial, s settings) (result, error) {
	server := w.children[t.server]
	var next atomic.Int64
	path := func() string { return t.paths[int(next.Add(1))%len(t.paths)] }
	warm, err := ask(server.addr, path, func(n int) bool { return n < len(t.paths)+10 && ctx.Err() == nil })
	if err != nil || len(warm) == 0 {
		return result{}, errors.Join(err, ctx.Err())
	}
	before, err := server.cpu()
	if err != nil {
		return result{}, err
	}
	var mu sync.Mutex
	var r result
	var problems []error
	var clients sync.WaitGroup
	start := time.Now()
	for range s.clients {
		clients.Go(func() {
			latencies, err := ask(server.addr, path, func(int) bool { return time.Since(start) < s.duration && ctx.Err() == nil })
			mu.Lock()
			defer mu.Unlock()
			r.latencies, problems = append(r.latencies, latencies...), append(problems, err)
		})
	}
	clients.Wait()
	r.took = time.Since(start)
	after, err := server.cpu()
	r.used = after - before
	slices.Sort(r.latencies)
	return r, errors.Join(append(problems, err, ctx.Err())...)
}

// ask sends requests over one connection as long as more says so.
func ask(addr string, path func() string, more func(n int) bool) (latencies []time.Duration, err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	reader := bufio.NewReaderSize(conn, 64<<10)
	for n := 0; more(n); n++ {
		start := time.Now()
		if _, err := io.WriteString(conn, "GET "+path()+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			return latencies, err
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			return latencies, err
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			return latencies, err
		}
		if response.StatusCode != http.StatusOK {
			return latencies, fmt.Errorf("status %d", response.StatusCode)
		}
		latencies = append(latencies, time.Since(start))
	}
	return latencies, nil
}
