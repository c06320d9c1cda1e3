package mailcache

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"slices"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/oklog/ulid/v2"

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
	var key [64]byte
	return string(base64.RawURLEncoding.AppendEncode(append(key[:0], "i:"...), mbox[:]))
}

// Page is the newest mails of a mailbox, PageEntries at most. What comes from the cache is decoded only as far as it is
// asked for.
type Page struct {
	value   []byte            // as it is in the cache
	entries []mailstore.Entry // as the database gave them, when it did
	loaded  bool
}

// Newest returns the newest most mails. whole says that the mailbox has no others. The error is that a page from the cache
// cannot be read.
func (p Page) Newest(most int) (entries []mailstore.Entry, whole bool, err error) {
	if !p.loaded {
		entries, whole, err = decodePage(p.value, most)
		return entries, whole && len(entries) < PageEntries, err
	}
	return p.entries[:min(len(p.entries), most)], len(p.entries) < PageEntries && len(p.entries) <= most, nil
}

// Find finds a mail's line. What cannot be read is not there.
func (p Page) Find(id ulid.ULID) (mailstore.Entry, bool) { return findEntry(p.value, id) }

// Bytes are the same for pages that say the same.
func (p Page) Bytes() []byte { return p.value }

// Loaded says that the page comes from the database.
func (p Page) Loaded() bool { return p.loaded }

// Page returns the page of a mailbox from the cache or else from load, which must ask the database for exactly
// PageEntries. The only errors are those of load.
func (c *Cache) Page(ctx context.Context, mailbox string, load func(context.Context) ([]mailstore.Entry, error)) (Page, error) {
	key := pageKey(mailbox)
	found, ours := c.findPage(key)
	if found != nil {
		return Page{value: found.Value}, nil
	}
	// From here on a deletion makes our page fail to replace our placeholder, so the database is asked after it is there.
	entries, err := load(ctx)
	if err != nil {
		return Page{}, err
	}
	entries = entries[:min(len(entries), PageEntries)]
	page := Page{encodePage(entries), entries, true}
	if ours != nil {
		ours.Value, ours.Flags, ours.Expiration = page.value, 0, seconds(PageTTL)
		// It fails when the placeholder was deleted or replaced meanwhile: then our page is too old to be cached.
		_ = c.do("fill_page", key, func(string) error { return c.client.CompareAndSwap(ours) })
	}
	return page, nil
}

// CachedPage is the page of a mailbox if the cache has it.
func (c *Cache) CachedPage(mailbox string) (Page, bool) {
	found, err := c.get("get_page", pageKey(mailbox))
	if err != nil || !readable(found) {
		return Page{}, false
	}
	return Page{value: found.Value}, true
}

// readable tells a page of this version from a placeholder and from other versions' pages.
func readable(i *memcache.Item) bool {
	return i.Flags != placeholder && len(i.Value) > 0 && i.Value[0] == format
}

// findPage returns the page; or our placeholder, to be replaced; or neither, when somebody else is filling the page. A
// page of another version is to be replaced, too.
func (c *Cache) findPage(key string) (found, ours *memcache.Item) {
	found, err := c.get("get_page", key)
	if err == nil {
		switch {
		case readable(found):
			return found, nil
		case found.Flags == placeholder:
			return nil, nil
		}
		return nil, found
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
	s := c.sender(op, func(_ int, err error) {
		if err != nil && !answered(err) {
			lost++
		}
	})
	defer s.release()
	for i, key := range keys {
		s.ask(i, key, deleted, func(to *memcache.Client) error { return to.Delete(key) })
	}
	s.flush()
	return lost
}
