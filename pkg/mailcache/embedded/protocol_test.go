package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"go.uber.org/goleak"

	"github.com/sluice-mail/sluice/pkg/mailcache/embedded"
	"github.com/sluice-mail/sluice/pkg/mailcache/memcachedtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The client must not be able to tell the embedded server from the real one.
func TestSameAsMemcached(t *testing.T) {
	t.Run("memcached", func(t *testing.T) {
		protocol(t, client(t, memcachedtest.Start(t).Addr, nil))
	})
	t.Run("embedded", func(t *testing.T) {
		protocol(t, client(t, "127.0.0.1:1", server(t, 64<<20).DialContext))
	})
}

func server(t *testing.T, size int64) *embedded.Server {
	t.Helper()
	s, err := embedded.New(size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func client(t *testing.T, addr string, dial func(context.Context, string, string) (net.Conn, error)) *memcache.Client {
	t.Helper()
	c := memcache.New(addr)
	c.DialContext, c.Timeout, c.MaxIdleConns = dial, 10*time.Second, 16
	t.Cleanup(func() { c.Close() })
	return c
}

// want fails the test when an operation ends otherwise.
func want(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func value(t *testing.T, c *memcache.Client, key, want string) *memcache.Item {
	t.Helper()
	i, err := c.Get(key)
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	if string(i.Value) != want {
		t.Errorf("%s is %q, want %q", key, i.Value, want)
	}
	return i
}

func item(key, v string) *memcache.Item { return &memcache.Item{Key: key, Value: []byte(v), Flags: 7} }

func protocol(t *testing.T, c *memcache.Client) {
	want(t, "ping", c.Ping(), nil)
	_, err := c.Get("absent")
	want(t, "get", err, memcache.ErrCacheMiss)
	want(t, "set", c.Set(item("k", "v\r\nEND\r\n")), nil)
	if i := value(t, c, "k", "v\r\nEND\r\n"); i.Flags != 7 {
		t.Errorf("flags %d", i.Flags)
	}
	want(t, "add to what is there", c.Add(item("k", "x")), memcache.ErrNotStored)
	want(t, "add", c.Add(item("new", "x")), nil)
	want(t, "replace nothing", c.Replace(item("none", "x")), memcache.ErrNotStored)
	want(t, "replace", c.Replace(item("k", "b")), nil)
	want(t, "append", c.Append(item("k", "c")), nil)
	want(t, "prepend", c.Prepend(item("k", "a")), nil)
	want(t, "append to nothing", c.Append(item("none", "c")), memcache.ErrNotStored)
	i := value(t, c, "k", "abc")
	want(t, "set in between", c.Set(item("k", "other")), nil)
	want(t, "cas too late", c.CompareAndSwap(i), memcache.ErrCASConflict)
	i = value(t, c, "k", "other")
	i.Value = []byte("swapped")
	want(t, "cas", c.CompareAndSwap(i), nil)
	value(t, c, "k", "swapped")
	want(t, "delete", c.Delete("k"), nil)
	want(t, "cas after a deletion", c.CompareAndSwap(i), memcache.ErrCacheMiss)
	want(t, "delete nothing", c.Delete("k"), memcache.ErrCacheMiss)
	numbers(t, c)
	expiry(t, c)
	want(t, "empty value", c.Set(item("empty", "")), nil)
	value(t, c, "empty", "")
	big := bytes.Repeat([]byte("x"), 1_000_000)
	want(t, "1 MB", c.Set(&memcache.Item{Key: "big", Value: big}), nil)
	value(t, c, "big", string(big))
	if err := c.Set(&memcache.Item{Key: "big", Value: make([]byte, 2<<20)}); err == nil {
		t.Error("2 MiB were taken")
	}
	got, err := c.GetMulti([]string{"new", "empty", "absent"})
	if err != nil || len(got) != 2 {
		t.Errorf("multi: %v %v", got, err)
	}
	want(t, "flush_all", c.FlushAll(), nil)
	_, err = c.Get("new")
	want(t, "get after flush_all", err, memcache.ErrCacheMiss)
}

func numbers(t *testing.T, c *memcache.Client) {
	t.Helper()
	want(t, "set", c.Set(item("n", "10")), nil)
	if n, err := c.Increment("n", 5); n != 15 || err != nil {
		t.Errorf("incr: %d %v", n, err)
	}
	if n, err := c.Decrement("n", 100); n != 0 || err != nil {
		t.Errorf("decr: %d %v", n, err)
	}
	_, err := c.Increment("absent", 1)
	want(t, "incr nothing", err, memcache.ErrCacheMiss)
	want(t, "set", c.Set(item("n", "word")), nil)
	if _, err := c.Increment("n", 1); err == nil {
		t.Error("a word was incremented")
	}
}

func expiry(t *testing.T, c *memcache.Client) {
	t.Helper()
	past := item("past", "x")
	past.Expiration = -1
	want(t, "set", c.Set(past), nil)
	_, err := c.Get("past")
	want(t, "get what expired", err, memcache.ErrCacheMiss)
	far := item("far", "x")
	far.Expiration = 31 * 24 * 3600 // a point in 1970
	want(t, "set", c.Set(far), nil)
	_, err = c.Get("far")
	want(t, "31 days is a date", err, memcache.ErrCacheMiss)
	soon := item("soon", "x")
	soon.Expiration = 1
	want(t, "set", c.Set(soon), nil)
	want(t, "set", c.Set(item("touched", "x")), nil)
	want(t, "touch", c.Touch("touched", 1), nil)
	want(t, "touch nothing", c.Touch("absent", 1), memcache.ErrCacheMiss)
	kept := item("kept", "x")
	kept.Expiration = 1
	want(t, "set", c.Set(kept), nil)
	if i, err := c.GetAndTouch("kept", 100); err != nil || string(i.Value) != "x" {
		t.Errorf("gat: %v", err)
	}
	for _, key := range []string{"soon", "touched"} {
		for deadline := time.Now().Add(20 * time.Second); ; {
			if _, err := c.Get(key); errors.Is(err, memcache.ErrCacheMiss) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s never expires", key)
			}
		}
	}
	value(t, c, "kept", "x")
}

func TestSizeIsBounded(t *testing.T) {
	const size = 8 << 20
	c := client(t, "127.0.0.1:1", server(t, size).DialContext)
	v := make([]byte, 10_000)
	for i := range 5000 { // 50 MB
		want(t, "set", c.Set(&memcache.Item{Key: fmt.Sprint("k", i), Value: v}), nil)
	}
	held := 0
	for deadline := time.Now().Add(20 * time.Second); ; {
		held = 0
		for i := range 5000 {
			if _, err := c.Get(fmt.Sprint("k", i)); err == nil {
				held++
			}
		}
		if held*len(v) <= size || time.Now().After(deadline) {
			break
		}
	}
	if held*len(v) > size || held < 100 {
		t.Errorf("%d values of 10,000 bytes in %d bytes", held, size)
	}
}

// Appending from many sides loses nothing: each change is atomic.
func TestChangesAreAtomic(t *testing.T) {
	c := client(t, "127.0.0.1:1", server(t, 64<<20).DialContext)
	want(t, "set", c.Set(item("list", "")), nil)
	want(t, "set", c.Set(item("n", "0")), nil)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				want(t, "append", c.Append(item("list", "x")), nil)
				if _, err := c.Increment("n", 1); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if i, err := c.Get("list"); err != nil || len(i.Value) != 1600 {
		t.Errorf("%d of 1600 (%v)", len(i.Value), err)
	}
	value(t, c, "n", "1600")
}

func TestNonsenseOnTheWire(t *testing.T) {
	s := server(t, 1<<20)
	for line, reply := range map[string]string{
		"nonsense\r\n": "ERROR\r\n", "\r\n": "ERROR\r\n", "get\r\n": "ERROR\r\n", "set k\r\n": "CLIENT_ERROR", "set k 0 0 x\r\n": "CLIENT_ERROR",
		"incr k\r\n": "ERROR", "delete\r\n": "ERROR", "cas k 0 0 1\r\n": "CLIENT_ERROR", "set k 0 0 -1\r\n": "CLIENT_ERROR",
		"verbosity 1\r\n": "OK", "version\r\n": "VERSION", "set k 0 0 1 noreply\r\nx\r\nget k\r\n": "VALUE k 0 1\r\nx\r\nEND\r\n",
	} {
		conn, err := s.DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1000)
		n, err := conn.Read(buf)
		if err != nil || !bytes.HasPrefix(buf[:n], []byte(reply)) {
			t.Errorf("%q: %q %v", line, buf[:n], err)
		}
		conn.Close()
	}
}
