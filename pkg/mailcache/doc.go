// Package mailcache is the fast copy of recent mail in Memcached. It is disposable: never the only copy of anything,
// and when it is dead, slow or flushed, its callers go to the database and are slowed down by next to nothing.
//
// Two kinds of items:
//
//	m:<id>    one mail: envelope and bytes, packed by S2. Written by the cachewarmer from the log. Whoever reads it
//	          compares the bytes with the SHA-256 of the envelope, so that the writer need not.
//	i:<mbox>  the newest page of a mailbox. Written only by readers, who ask the database first; deleted by the
//	          cachewarmer when the storer says that mail has been stored.
//
// A reader that misses a page first puts a placeholder there, then asks the database, then replaces its own placeholder
// by the page (compare and swap). A deletion in between makes that fail, so a page older than the deletion never comes
// back. And because a page lives for 60 s at most, a lost deletion hides new mail for no longer than that.
//
// The client is gomemcache, which waits for each answer. What it writes (set, delete) goes over connections that are
// shares of one per server (line), so that requests which are under way together share their system calls.
package mailcache
