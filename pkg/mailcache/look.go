package mailcache

import (
	"github.com/bradfitz/gomemcache/memcache"
	"github.com/oklog/ulid/v2"
)

// PageAndMessage looks for the page of a mailbox and for a mail, in one round trip when one server has both. The page has
// no mail, and the item is empty, when it is not there.
func (c *Cache) PageAndMessage(mailbox string, id ulid.ULID) (page Page, item Item) {
	pageAt, mailAt := pageKey(mailbox), messageKey(id)
	found := c.getBoth(pageAt, mailAt)
	if i := found[pageAt]; i != nil && readable(i) {
		page.value = i.Value
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
