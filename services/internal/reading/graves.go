package reading

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailcache"
	"github.com/sluice-mail/sluice/pkg/mailstore"
)

const (
	// graveLife is how long a page that was not deleted may show what has been: as long as it lives, and a little for the
	// cache's clock, which counts whole seconds.
	graveLife = mailcache.PageTTL + 5*time.Second
	// graveRetry is how often such a page is deleted again.
	graveRetry = 500 * time.Millisecond
	// graveRest is how long what was deleted is remembered after its page was deleted: a list may be in the making of a page that
	// was read before.
	graveRest = 10 * time.Second
	// maxGraves bounds the mails remembered; beyond it whole mailboxes are read from the database instead.
	maxGraves = 10_000
)

// graves makes up for pages that the cache could not delete. It remembers what was deleted from their mailboxes, and goes
// on deleting the pages until they must have expired.
type graves struct {
	cache  *mailcache.Cache // nil: there are no pages
	logger *slog.Logger
	wake   chan struct{}
	stop   context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	boxes map[string]*grave
	mails int // in all boxes
}

// grave is what one mailbox's page may still show wrongly.
type grave struct {
	until   time.Time
	deleted time.Time // when the page was deleted at last; zero: it was not yet
	gone    map[ulid.ULID]struct{}
}

func newGraves(cache *mailcache.Cache, logger *slog.Logger) *graves {
	ctx, stop := context.WithCancel(context.Background()) // it lives as long as the Reader
	g := &graves{cache: cache, logger: logger, wake: make(chan struct{}, 1), stop: stop, done: make(chan struct{}), boxes: make(map[string]*grave)}
	go g.run(ctx)
	return g
}

func (g *graves) close() {
	g.stop()
	<-g.done
}

// changed deletes the page of a mailbox after something in it has changed: mails that are gone from it, or marks.
func (g *graves) changed(mailbox string, gone ...ulid.ULID) {
	if g.cache == nil || g.cache.DeletePages([]string{mailbox}) == 0 {
		return
	}
	g.logger.Warn("the cache could not delete the page of a changed mailbox; retrying until the page has expired", "deleted", len(gone))
	g.dig(mailbox, gone, time.Now())
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

func (g *graves) dig(mailbox string, gone []ulid.ULID, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.boxes[mailbox]
	if b == nil {
		b = &grave{gone: make(map[ulid.ULID]struct{})}
		g.boxes[mailbox] = b
	}
	b.until, b.deleted = now.Add(graveLife), time.Time{}
	for _, id := range gone {
		if _, there := b.gone[id]; !there && g.mails < maxGraves {
			b.gone[id] = struct{}{}
			g.mails++
		}
	}
}

// without takes out of a list what is known to be gone.
func (g *graves) without(mailbox string, entries []mailstore.Entry) []mailstore.Entry {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.boxes[mailbox]
	if b == nil || len(b.gone) == 0 {
		return entries
	}
	kept := make([]mailstore.Entry, 0, len(entries))
	for _, e := range entries {
		if _, gone := b.gone[e.ID]; !gone {
			kept = append(kept, e)
		}
	}
	return kept
}

// at says whether anything is remembered of a mailbox.
func (g *graves) at(mailbox string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.boxes[mailbox] != nil
}

// have says whether a mail is known to be gone from a mailbox.
func (g *graves) have(mailbox string, id ulid.ULID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.boxes[mailbox]
	if b == nil {
		return false
	}
	_, gone := b.gone[id]
	return gone
}

// run deletes pages again until they must have expired.
func (g *graves) run(ctx context.Context) {
	defer close(g.done)
	tick := time.NewTicker(graveRetry)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.wake:
		}
		for g.again(time.Now()) {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}
}

// again tries all pages once more. It says whether any is left.
func (g *graves) again(now time.Time) (left bool) {
	g.mu.Lock()
	due := make(map[string]time.Time)
	for mailbox, b := range g.boxes {
		switch {
		case now.After(b.until), !b.deleted.IsZero() && now.After(b.deleted.Add(graveRest)):
			g.forget(mailbox)
			continue
		case b.deleted.IsZero():
			due[mailbox] = b.until
		}
		left = true
	}
	g.mu.Unlock()
	for mailbox, until := range due {
		if g.cache.DeletePages([]string{mailbox}) > 0 {
			continue
		}
		g.mu.Lock()
		if b := g.boxes[mailbox]; b != nil && b.until.Equal(until) { // else something was deleted meanwhile
			b.deleted = time.Now()
		}
		g.mu.Unlock()
	}
	return left
}

func (g *graves) forget(mailbox string) {
	if b := g.boxes[mailbox]; b != nil {
		g.mails -= len(b.gone)
		delete(g.boxes, mailbox)
	}
}
