package reading

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/mailcache"
	"github.com/sluice-mail/sluice/pkg/mailcache/memcachedtest"
	"github.com/sluice-mail/sluice/pkg/mailstore"
)

// A list may be in the making of a page that was read before the cache deleted it: what is gone is left out of that one, too.
func TestAPageThatWasReadBeforeItsDeletionShowsNothingDeleted(t *testing.T) {
	server := memcachedtest.Start(t)
	logger := slog.New(slog.DiscardHandler)
	cache := mailcache.New(mailcache.Config{Addrs: []string{server.Addr}}, nil, logger, prometheus.NewRegistry())
	t.Cleanup(cache.Close)
	const ann = "ann@example.com"
	entry := mailstore.Entry{ID: ulid.Make(), Mailbox: ann}
	page, err := cache.Page(t.Context(), ann, func(context.Context) ([]mailstore.Entry, error) { return []mailstore.Entry{entry}, nil })
	if err != nil {
		t.Fatal(err)
	}
	read, _, err := page.Newest(10)
	if err != nil {
		t.Fatal(err)
	}
	g := newGraves(cache, logger)
	t.Cleanup(g.close)
	server.Stop()
	g.changed(ann, entry.ID)
	if !g.have(ann, entry.ID) {
		t.Fatal("the cache that is away has deleted the page")
	}
	server.Continue()
	noted := func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		b := g.boxes[ann]
		return b != nil && !b.deleted.IsZero()
	}
	for deadline := time.After(30 * time.Second); !noted(); {
		select {
		case <-deadline:
			t.Fatal("the page is not deleted, or its deletion is not noted")
		case <-time.After(10 * time.Millisecond):
		}
	}
	if _, there := cache.CachedPage(ann); there {
		t.Error("the page is still there")
	}
	if left := g.without(ann, read); len(left) != 0 {
		t.Error("a page that was read before its deletion shows what is deleted")
	}
	if left := g.again(time.Now().Add(graveRest + time.Second)); left || g.at(ann) {
		t.Error("it is remembered long after its page was deleted")
	}
}
