package mailcache

import (
	"github.com/bradfitz/gomemcache/memcache"
	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

// PageAndMessage looks for the page of a mailbox and for a mail, in one round trip when one server has both. A page that is
// not in the cache is nil, and a mail that is not there is an empty Item.
func (c *Cache) PageAndMessage(mailbox string, id ulid.ULID) (page []mailstore.Entry, item Item) {
	pageAt, mailAt := pageKey(mailbox), messageKey(id)
	found := c.getBoth(pageAt, mailAt)
	if i := found[pageAt]; i != nil && i.Flags != placeholder {
		page, _, _ = decodePage(i.Value, PageEntries) // a page that cannot be decoded is a miss
	}
	if i := found[mailAt]; i != nil {
		item, _ = decodeItem(i.Value)
	}
	return page, item
}

func (c *Cache) getBoth(pageAt, mailAt string) map[string]*memcache.Item {
	if c.servers.pick(pageAt) == c.servers.pick(mailAt) {
		var found map[string]*memcache.Item
		_ = c.do("get_both", pageAt, func(string) (err error) {
			found, err = c.client.GetMulti([]string{pageAt, mailAt})
			return err
		})
		return found
	}
	found := make(map[string]*memcache.Item, 2)
	for key, op := range map[string]string{pageAt: "get_page", mailAt: "get_message"} {
		if i, err := c.get(op, key); err == nil {
			found[key] = i
		}
	}
	return found
}

// DeleteMessages forgets mails. It returns how many could not be deleted for sure.
func (c *Cache) DeleteMessages(ids []ulid.ULID) int {
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = messageKey(id)
	}
	return c.deleteAll("delete_message", keys)
}
