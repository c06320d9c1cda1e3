package e2e

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/mailcache"
	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

// Promise 6: A cache that has lost everything is warm again after a replay.
func TestFlushedCacheIsWarmedAgain(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	f := newFleet(t, 1)
	if err := f.Start(ctx); err != nil {
		t.Fatal(err)
	}
	const mails = 500
	record, wait := load(t, ctx, f, "-count", "500", "-sizes", "1KB-60KB", "-rcpts", "1-3")
	wait()
	acks := readRecord(t, record)
	for _, a := range acks {
		if a.ID == "" {
			t.Fatalf("not accepted: %+v", a)
		}
	}
	cache := mailcache.New(mailcache.Config{Addrs: []string{f.Memcached.Addrs["client"]}, Timeout: 2 * time.Second}, nil,
		slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	defer cache.Close()
	hits := func() (n int) {
		for _, a := range acks {
			if _, ok := cache.Message(ulid.MustParse(a.ID)); ok {
				n++
			}
		}
		return n
	}
	// On a busy machine an operation may take longer than its timeout, and its mail is skipped: a cache need not be full.
	within(t, 60*time.Second, "the cache has mail", func() bool { return hits() > 0 })
	before := hits()
	flush(t, f)
	cold := hits()
	out := warm(t, ctx, f)
	t.Logf("of %d mails the cache had %d, flushed %d, after the replay %d: %s", mails, before, cold, hits(), out)
	if cold != 0 {
		t.Errorf("flushed the cache had %d of %d mails", cold, mails)
	}
	within(t, 60*time.Second, "the cache has every mail after a replay", func() bool { return hits() == mails || warm(t, ctx, f) == "" })
	cached(t, ctx, f, record)

	// Without the cache a replay ends all the same, and says what it could not do.
	if err := f.Memcached.Stop(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	if out := warm(t, ctx, f); !strings.Contains(out, fmt.Sprintf("cached 0, too large 0, not taken by the cache %d", mails)) {
		t.Errorf("a replay into a cache that is away: %s", out)
	}
}

// warm replays the last hour into the cache and returns the summary.
func warm(t *testing.T, ctx context.Context, f *fleet.Fleet) string {
	t.Helper()
	out, err := f.Command(ctx, f.Env(), "cachewarmer", "replay", "--since", "1h")
	if err != nil {
		t.Fatal(err)
	}
	return summarised(t, out).text
}

// flush empties Memcached as an operator would.
func flush(t *testing.T, f *fleet.Fleet) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", f.Memcached.Addrs["client"], 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprint(conn, "flush_all\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || line != "OK\r\n" {
		t.Fatalf("flush_all: %q %v", line, err)
	}
}
