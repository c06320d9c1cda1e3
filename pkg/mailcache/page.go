package mailcache

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

const (
	// placeholder in the flags of an item: somebody is asking the database for this page.
	placeholder = 1
	// placeholderTTL is the time after which another reader may query the database, because the first one may have died.
	placeholderTTL = 5 * time.Second
)

func pageKey(mailbox string) string {
	mbox := mailstore.Mbox(mailbox)
	return "i:" + base64.RawURLEncoding.EncodeToString(mbox[:])
}

// Page returns the newest mails of a mailbox, at most the number most and never more than PageEntries. They come from the cache, or
// else from load, which must ask the database for exactly PageEntries. whole says that the mailbox has no other mails. The
// only errors are those of load.
func (c *Cache) Page(ctx context.Context, mailbox string, most int, load func(context.Context) ([]mailstore.Entry, error)) (entries []mailstore.Entry, whole bool, err error) {
	key := pageKey(mailbox)
	found, ours := c.findPage(key)
	if found != nil {
		if entries, whole, err = decodePage(found.Value, most); err == nil {
			return entries, whole && len(entries) < PageEntries, nil
		}
		ours = found // of another version: replace it
	}
	// From here on a deletion makes our page fail to replace our placeholder, so the database is asked after it is there.
	entries, err = load(ctx)
	if err != nil {
		return nil, false, err
	}
	entries = entries[:min(len(entries), PageEntries)]
	if ours != nil {
		ours.Value, ours.Flags, ours.Expiration = encodePage(entries), 0, seconds(PageTTL)
		// It fails when the placeholder was deleted or replaced meanwhile: then our page is too old to be cached.
		_ = c.do("fill_page", key, func(string) error { return c.client.CompareAndSwap(ours) })
	}
	return entries[:min(len(entries), most)], len(entries) < PageEntries && len(entries) <= most, nil
}

// findPage returns the page; or our placeholder, to be replaced; or neither, when somebody else is filling the page.
func (c *Cache) findPage(key string) (found, ours *memcache.Item) {
	found, err := c.get("get_page", key)
	if err == nil {
		if found.Flags == placeholder {
			return nil, nil
		}
		return found, nil
	}
	if !errors.Is(err, memcache.ErrCacheMiss) {
		return nil, nil
	}
	token := rand.Text()
	if err := c.do("add_page", key, func(key string) error {
		return c.client.Add(&memcache.Item{Key: key, Value: []byte(token), Flags: placeholder, Expiration: seconds(placeholderTTL)})
	}); err != nil {
		return nil, nil
	}
	ours, err = c.get("get_page", key)
	if err != nil || string(ours.Value) != token {
		return nil, nil // deleted, or deleted and begun anew by somebody else
	}
	return nil, ours
}

func (c *Cache) get(op, key string) (found *memcache.Item, err error) {
	err = c.do(op, key, func(key string) (err error) {
		found, err = c.client.Get(key)
		return err
	})
	return found, err
}

// DeletePages deletes the pages of mailboxes that have new mail, each once. It returns how many may still be there: these
// expire within PageTTL.
func (c *Cache) DeletePages(mailboxes []string) int {
	keys := make([]string, len(mailboxes))
	for i, mailbox := range mailboxes {
		keys[i] = pageKey(mailbox)
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	return c.deleteAll("delete_page", keys)
}

func (c *Cache) deleteAll(op string, keys []string) (lost int) {
	var n atomic.Int64
	c.each(len(keys), func(i int) {
		if err := c.do(op, keys[i], c.writer.Delete); err != nil && !answered(err) {
			n.Add(1)
		}
	})
	return int(n.Load())
}
