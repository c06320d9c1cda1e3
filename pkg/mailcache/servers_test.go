package mailcache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"
)

func TestRemovingAServerMovesOnlyItsKeys(t *testing.T) {
	names := []string{"cache-0:11211", "cache-1:11211", "cache-2:11211", "cache-3:11211"}
	four, three := newServers(names, time.Now), newServers(names[:3], time.Now)
	held := map[string]int{}
	for i := range 10_000 {
		key := fmt.Sprint("m:", i)
		before, after := four.pick(key).name, three.pick(key).name
		held[before]++
		if before != names[3] && before != after {
			t.Fatalf("%s moved from %s to %s", key, before, after)
		}
	}
	for name, n := range held {
		if n < 2000 || n > 3000 {
			t.Errorf("%s has %d of 10,000 keys", name, n)
		}
	}
}

func TestBreaker(t *testing.T) {
	now := time.Now()
	b := breaker{now: func() time.Time { return now }}
	fail := func(n int) {
		for range n {
			if !b.allow() {
				t.Fatal("closed too early")
			}
			b.done(false)
		}
	}
	fail(tolerance - 1)
	if !b.allow() {
		t.Fatal("not allowed")
	}
	b.done(true) // a success in between starts the count anew
	fail(tolerance)
	if b.allow() || !b.open() {
		t.Error("still allowed after failures in a row")
	}
	now = now.Add(openFor)
	if !b.allow() {
		t.Error("no probe")
	}
	if b.allow() {
		t.Error("two probes at once")
	}
	b.done(false)
	if b.allow() {
		t.Error("allowed right after a failed probe")
	}
	now = now.Add(openFor)
	if !b.allow() {
		t.Error("no second probe")
	}
	b.done(true)
	if b.open() || !b.allow() {
		t.Error("not allowed after a good probe")
	}
	b.done(true)
}

func TestNamesAreLookedUpAgain(t *testing.T) {
	c := &Cache{servers: newServers([]string{"cache.example.com:11211", "192.0.2.1:11211", "/run/sock"}, time.Now), logger: slog.New(slog.DiscardHandler)}
	answer, failure := []string{"192.0.2.8", "192.0.2.7"}, error(nil)
	lookup := func(context.Context, string) ([]string, error) { return answer, failure }
	first := c.lookup(t.Context(), nil, lookup)
	if len(first) != 1 || first["cache.example.com:11211"] != "192.0.2.7 192.0.2.8" {
		t.Fatal(first)
	}
	failure = errors.New("no name server")
	if again := c.lookup(t.Context(), first, lookup); again["cache.example.com:11211"] != first["cache.example.com:11211"] {
		t.Error("a failing name server moved a cache server", again)
	}
}

func value(m Mail) []byte {
	var e encoder
	e.mail(&m)
	return e.b
}

func TestValuesOfOtherVersions(t *testing.T) {
	good := value(Mail{Envelope: []byte("envelope"), Raw: []byte("body")})
	for _, b := range [][]byte{nil, {}, {format}, {format + 1, 0}, {format, 0xff}, good[:4]} {
		if _, err := decodeItem(b); err == nil {
			t.Errorf("item %x: no error", b)
		}
		if _, _, err := decodePage(b, PageEntries); err == nil && len(b) != 0 {
			t.Errorf("page %x: no error", b)
		}
	}
}

// Whatever is in the cache, decoding it must not panic.
func FuzzDecode(f *testing.F) {
	f.Add(value(Mail{Envelope: []byte("envelope"), Raw: []byte("body")}))
	f.Add(encodePage(nil))
	f.Add([]byte{format, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = decodeItem(b)
		if entries, _, err := decodePage(b, PageEntries); err == nil && len(entries) > PageEntries {
			t.Errorf("a page of %d", len(entries))
		}
	})
}
