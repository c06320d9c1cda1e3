// Package mailcache is the fast copy of recent mail in Memcached. It is disposable: it never has the only copy of anything.
// When it is down, slow or empty, callers read the database instead and wait for the cache only briefly.
//
// Two kinds of items:
//
//	m:<id>    one mail: envelope and bytes, packed by S2. Written by the cachewarmer from the log. Whoever reads it
//	          compares the bytes with the SHA-256 of the envelope, so that the writer need not.
//	i:<mbox>  the newest page of a mailbox. Written only by readers, who ask the database first; deleted by the
//	          cachewarmer when the storer says that mail has been stored.
//
// A reader that finds no page first writes a placeholder, then asks the database, then replaces its own placeholder
// by the page (compare and swap). If the page is deleted in between, the swap fails, so a page older than the deletion never
// comes back. A page lives for at most 60 s, so if a deletion is lost, new mail stays hidden no longer than that.
//
// The client is gomemcache, which sends one request at a time and waits for its answer. For set and delete it is given a line
// instead of a connection: that keeps the requests of one caller, and sends many of them in one write.
package mailcache
