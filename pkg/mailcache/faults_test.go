package mailcache_test

import (
	"bytes"
	"context"
	"net"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/mailcache"
	"github.com/sluice-mail/sluice/pkg/mailcache/memcachedtest"
)

// set caches a mail and says whether that was done.
func set(c *mailcache.Cache) bool {
	return c.SetMessages([]mailcache.Mail{{ID: ulid.Make(), Envelope: []byte("x"), Raw: []byte("x")}})[0] != mailcache.Skipped
}

// hammer does 64 readers' worth of operations and returns how long all of them took.
func hammer(t *testing.T, c *mailcache.Cache) time.Duration {
	t.Helper()
	start := time.Now()
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range 10 {
				if got, asked := ask(t, c, "a@example.com", page(1)); !asked || len(got) != 1 {
					t.Error("no answer from the database")
				}
				set(c)
				c.Message(ulid.Make())
				c.DeletePages([]string{"a@example.com"})
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}

// A cache that is gone, or swallows everything, costs each reader its timeout a few times and not on every operation:
// 2,560 operations at 100 ms would be 4 s even for 64 readers side by side.
func TestDeadCacheSlowsNothing(t *testing.T) {
	hole, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for name, addrs := range map[string][]string{
		"refused": {closed.Addr().String()}, "black hole": {hole.Addr().String()}, "none": nil,
		"unknown name": {"memcached.invalid:11211"}, "empty": {""},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, mailcache.Config{Addrs: addrs, Timeout: 100 * time.Millisecond}, nil)
			took := hammer(t, c)
			t.Logf("2,560 operations in %v", took)
			if took > 30*time.Second { // one timeout each would be four minutes
				t.Error("too slow")
			}
		})
	}
}

// One dead server of two leaves the other one in use, and comes back by itself.
func TestServerGoneAndBack(t *testing.T) {
	one, two := memcachedtest.Start(t), memcachedtest.Start(t)
	c := open(t, mailcache.Config{Addrs: []string{one.Addr, two.Addr}, Timeout: time.Second}, nil)
	setAll := func() (ok int) {
		for range 200 {
			if set(c) {
				ok++
			}
		}
		return ok
	}
	if got := setAll(); got != 200 {
		t.Fatalf("%d of 200 set", got)
	}
	two.Kill()
	if got := setAll(); got < 50 || got > 150 {
		t.Errorf("%d of 200 set with one of two servers, want about half", got)
	}
	two.Restart()
	for deadline := time.Now().Add(30 * time.Second); ; {
		if got := setAll(); got == 200 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the server is back, and not used again")
		}
	}
}

// A restart between two batches costs nothing, though the connection that was kept is gone.
func TestARestartLosesNoMail(t *testing.T) {
	server := memcachedtest.Start(t)
	c := open(t, mailcache.Config{Addrs: []string{server.Addr}, Timeout: 10 * time.Second}, nil)
	for range 3 {
		mails := make([]mailcache.Mail, 100)
		for i := range mails {
			mails[i] = mailOf(noise(10_000)) // several exchanges
		}
		for i, outcome := range c.SetMessages(mails) {
			if outcome != mailcache.Cached {
				t.Fatalf("mail %d: outcome %v", i, outcome)
			}
			if _, ok := c.Message(mails[i].ID); !ok {
				// The client for reading still has a connection to the server of before, and finds out now.
				if _, ok := c.Message(mails[i].ID); !ok {
					t.Fatalf("mail %d is not there", i)
				}
			}
		}
		server.Kill()
		server.Restart()
	}
}

// A server that hangs costs a batch its timeout once, and takes mail again when it goes on.
func TestAServerHangsAndGoesOn(t *testing.T) {
	server := memcachedtest.Start(t)
	c := open(t, mailcache.Config{Addrs: []string{server.Addr}, Timeout: 200 * time.Millisecond}, nil)
	server.Stop()
	mails := make([]mailcache.Mail, 100)
	for i := range mails {
		mails[i] = mailOf(noise(30_000))
	}
	start := time.Now()
	for _, outcome := range c.SetMessages(mails) {
		if outcome != mailcache.Skipped {
			t.Fatalf("outcome %v of a server that hangs", outcome)
		}
	}
	if took := time.Since(start); took > 10*time.Second { // one timeout each would be 20 s
		t.Errorf("100 mails took %v", took)
	}
	server.Continue()
	for deadline := time.Now().Add(30 * time.Second); !set(c); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the server goes on, and is not used again")
		}
	}
}

// A mailbox page must not outlive a minute, and messages must not all expire at once. What counts is what goes over
// the wire.
func TestExpiryOnTheWire(t *testing.T) {
	_, inner := stand(t)
	var wire recorder
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := inner(ctx, network, addr)
		return &recorded{conn, &wire}, err
	}
	c := open(t, mailcache.Config{Addrs: []string{"embedded:1"}, TTL: time.Hour, Timeout: 5 * time.Second}, dial)
	ask(t, c, "a@example.com", page(1))
	different := map[int]bool{}
	for range 50 {
		set(c)
	}
	if got := wire.expiries(t, `(?m)^cas i:\S+ 0 (\d+) `); len(got) != 1 || got[0] != 60 {
		t.Errorf("pages expire after %v s, want 60", got)
	}
	if got := wire.expiries(t, `(?m)^add i:\S+ 1 (\d+) `); len(got) != 1 || got[0] != 5 {
		t.Errorf("placeholders expire after %v s, want 5", got)
	}
	for _, s := range wire.expiries(t, `(?m)^set m:\S+ 0 (\d+) `) {
		different[s] = true
		if s < 3240 || s > 3960 {
			t.Errorf("a message expires after %d s", s)
		}
	}
	if len(different) < 10 {
		t.Errorf("50 messages expire at only %d times", len(different))
	}
}

type recorder struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *recorder) expiries(t *testing.T, pattern string) (seconds []int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range regexp.MustCompile(pattern).FindAllSubmatch(r.b.Bytes(), -1) {
		n, err := strconv.Atoi(string(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		seconds = append(seconds, n)
	}
	return seconds
}

type recorded struct {
	net.Conn
	to *recorder
}

func (r *recorded) Write(p []byte) (int, error) {
	r.to.mu.Lock()
	r.to.b.Write(p)
	r.to.mu.Unlock()
	return r.Conn.Write(p)
}

func TestMetrics(t *testing.T) {
	addr, dial := stand(t)
	reg := prometheus.NewRegistry()
	c := mailcache.New(mailcache.Config{Addrs: []string{addr}, Timeout: 5 * time.Second}, dial, nil, reg)
	defer c.Close()
	mailcache.New(mailcache.Config{Addrs: []string{addr}}, dial, nil, reg).Close() // a second cache in one process
	ask(t, c, "a@example.com", page(1))
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				found[f.GetName()+"/"+l.GetValue()] += m.GetCounter().GetValue()
			}
		}
	}
	if found["sluice_cache_ops_total/get_page"] != 2 || found["sluice_cache_ops_total/miss"] != 1 || found["sluice_cache_ops_total/fill_page"] != 1 {
		t.Errorf("%v", found)
	}
	if _, ok := found["sluice_cache_breaker_open/"+addr]; !ok {
		t.Error("no state of the breaker")
	}
}
