// Package cachewarmer fills Memcached from the log, so that a mail just received is read without the database.
//
//	MAIL_<p> ──▶ consume.Worker ──▶ handler: parse, compress ──▶ mailcache.SetMessage ──▶ ack
//	mail.stored.<p> ──▶ mailcache.DeletePages (lists of the mailboxes that have new mail)
//
// The cache is disposable: a cache that is away is skipped and counted, and nothing waits for it. Consumes: MAIL_<p> by
// consumer cachewarmer, mail.stored.<p>. Produces: cache items. Acknowledges when it has tried.
package cachewarmer
