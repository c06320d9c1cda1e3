// Package cachewarmer fills Memcached from the log, so that a mail just received is read without the database.
//
//	MAIL_<p> ──▶ consume.Worker ──▶ mailcache.SetMessages: pack, send ──▶ ack
//	mail.stored.<p> ──▶ mailcache.DeletePages (lists of the mailboxes that have new mail), by one of the cachewarmers
//
// The cache is disposable: a cache that is away is skipped and counted, and nothing waits for it. Consumes: MAIL_<p> by
// consumer cachewarmer, mail.stored.<p>. Produces: cache items. Acknowledges when it has tried.
package cachewarmer
