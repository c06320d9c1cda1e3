// Package reading is how mail is read: by the mailbox service, and by sluicectl. What is recent comes from the cache, what
// is not from the database, and nobody who reads learns of mailboxes but his own.
//
//	List ──▶ page in the cache ──miss──▶ database (one query) ──▶ page
//	Open ──▶ page and message in the cache, one round trip ──miss──▶ database
//	Delete, MarkSeen ──▶ database ──COMMIT──▶ delete the page in the cache ──▶ answer
//
// A cache that is away, slow or empty costs time and nothing else. One thing must then be made up for: a page that could
// not be deleted would show deleted mail until it expires. So that deletion is tried again as long as the page may live,
// and meanwhile this process remembers what it has deleted (graves).
//
// Readers who want the same at the same time share one query of the database (flights): never one that began before they
// asked, so that nobody is shown a state older than his question.
package reading
