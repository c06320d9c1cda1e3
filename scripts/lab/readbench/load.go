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
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
)

// server is a process that is asked.
type server struct {
	addr string
	pid  int
	bare *bench.Child // nil for the inbox, which the fleet runs
}

func startBare(ctx context.Context, args ...string) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c, err := bench.StartChild(ctx, self, append([]string{"serve"}, args...)...)
	if err != nil {
		return nil, err
	}
	return &server{c.Addr, c.PID(), c}, nil
}

// cpu is the processor time the process has used, in nanoseconds: /proc would tell it in ticks of 10 ms.
func (s *server) cpu() (int64, error) {
	const schedClock = 2 // see clock_getcpuclockid(3)
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^s.pid<<3|schedClock), &t); err != nil {
		return 0, fmt.Errorf("reading the processor time of a process: %w", err)
	}
	return t.Nano(), nil
}

// result is one measurement.
type result struct {
	took      time.Duration
	used      int64 // nanoseconds
	bytes     int64 // of bodies
	latencies []time.Duration
}

func (r result) rate() float64 { return float64(len(r.latencies)) / r.took.Seconds() }
func (r result) cpu() float64  { return float64(r.used) / 1000 / float64(len(r.latencies)) }
func (r result) size() float64 { return float64(r.bytes) / float64(len(r.latencies)) }
func (r result) p50() float64  { return r.percentile(50) }
func (r result) p99() float64  { return r.percentile(99) }

// percentile needs the latencies in order.
func (r result) percentile(p int) float64 {
	return float64(r.latencies[(len(r.latencies)-1)*p/100].Microseconds()) / 1000
}

// request is one thing to ask for.
type request struct{ path, tag string }

func (r request) text() string {
	text := "GET " + r.path + " HTTP/1.1\r\nHost: localhost\r\n"
	if r.tag != "" {
		text += "If-None-Match: " + r.tag + "\r\n"
	}
	return text + "\r\n"
}

// client is a kept connection.
type client struct {
	conn   net.Conn
	reader *bufio.Reader
}

func dial(addr string) (*client, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &client{conn, bufio.NewReaderSize(conn, 64<<10)}, nil
}

func (c *client) ask(r request) (body []byte, header http.Header, err error) {
	if _, err := io.WriteString(c.conn, r.text()); err != nil {
		return nil, nil, err
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return nil, nil, err
	}
	body, err = io.ReadAll(response.Body)
	want := http.StatusOK
	if r.tag != "" {
		want = http.StatusNotModified
	}
	if err == nil && response.StatusCode != want {
		err = fmt.Errorf("%s: status %d, not %d: %.300s", r.path, response.StatusCode, want, body)
	}
	return body, response.Header, err
}

// measure asks a server, over all connections at once, for all of t's requests, again and again until they are enough.
func (w *world) measure(ctx context.Context, t trial) (r result, err error) {
	s := w.servers[t.server]
	clients := make([]*client, w.settings.clients)
	for i := range clients {
		if clients[i], err = dial(s.addr); err != nil {
			return r, err
		}
		defer clients[i].conn.Close()
	}
	if t.warm { // not the caches only: connections and memory, too
		if _, err := pass(ctx, s, clients, t.requests); err != nil {
			return r, err
		}
	}
	profiled := w.profile(ctx, t)
	for len(r.latencies) < w.settings.requests || !profiled() {
		if t.before != nil {
			if err := t.before(); err != nil {
				return r, err
			}
		}
		p, err := pass(ctx, s, clients, t.requests)
		if err != nil {
			return r, err
		}
		r.took, r.used, r.bytes, r.latencies = r.took+p.took, r.used+p.used, r.bytes+p.bytes, append(r.latencies, p.latencies...)
	}
	slices.Sort(r.latencies)
	return r, nil
}

// profile writes a profile of the inbox, if one is wanted. done says that it is there.
func (w *world) profile(ctx context.Context, t trial) (done func() bool) {
	if w.settings.profiles == "" || t.server != "inbox" {
		return func() bool { return true }
	}
	there := make(chan struct{})
	go func() {
		defer close(there)
		if err := download(ctx, "http://"+w.inbox.Addrs["debug"]+"/debug/pprof/profile?seconds=4",
			filepath.Join(w.settings.profiles, strings.ReplaceAll(t.name, ", ", "-")+".pprof")); err != nil {
			fmt.Fprintln(os.Stderr, "readbench: a profile:", err)
		}
	}()
	return func() bool {
		select {
		case <-there:
			return true
		default:
			return false
		}
	}
}

func download(ctx context.Context, url, file string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	profile, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	return os.WriteFile(file, profile, 0o600)
}

// pass asks for each of the requests once.
func pass(ctx context.Context, s *server, clients []*client, requests []request) (r result, err error) {
	var next, bytes atomic.Int64
	var mu sync.Mutex
	var problems []error
	var asking sync.WaitGroup
	before, err := s.cpu()
	if err != nil {
		return r, err
	}
	start := time.Now()
	for _, c := range clients {
		asking.Go(func() {
			var latencies []time.Duration
			var problem error
			for i := int(next.Add(1)) - 1; i < len(requests) && problem == nil && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				began := time.Now()
				var body []byte
				body, _, problem = c.ask(requests[i])
				latencies = append(latencies, time.Since(began))
				bytes.Add(int64(len(body)))
			}
			mu.Lock()
			defer mu.Unlock()
			r.latencies, problems = append(r.latencies, latencies...), append(problems, problem)
		})
	}
	asking.Wait()
	r.took, r.bytes = time.Since(start), bytes.Load()
	after, err := s.cpu()
	r.used = after - before
	return r, errors.Join(append(problems, err, ctx.Err())...)
}
