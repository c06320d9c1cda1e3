// Package cachewarmer fills Memcached from the log, so that mail that has just arrived can be read without the database.
//
//	MAIL_<p> ──▶ consume.Worker ──▶ mailcache.SetMessages: pack, send ──▶ ack
//	mail.stored.<p> ──▶ mailcache.DeletePages (lists of the mailboxes that have new mail), by one of the cachewarmers
//
// The cache is disposable: when it does not take a mail, the mail is skipped and counted, and nothing waits. Consumes: MAIL_<p> by
// consumer cachewarmer, mail.stored.<p>. Produces: cache items. Acknowledges after one attempt.
package cachewarmer
