// Package reading reads mail for the mailbox service and for sluicectl: recent mail from the cache, other mail from the database.
// A reader learns nothing about mailboxes other than the one being read.
//
//	List ──▶ page in the cache ──miss──▶ database (one query) ──▶ page
//	Open ──▶ page and message in the cache, one round trip ──miss──▶ database
//	ListAnswer, MailAnswer ──▶ page in the cache ──▶ the answer of before, if it was made from the same; else List, Open
//	Delete, MarkSeen ──▶ database ──COMMIT──▶ delete the page in the cache ──▶ answer
//
// A cache that is down, slow or empty costs time and nothing else, with one exception: a page that could not be deleted would
// show deleted mail until it expires. Therefore the deletion is retried as long as the page may live, and meanwhile this
// process remembers what it has deleted (graves).
//
// Answers that callers have composed are kept in memory together with what they were composed from (answers). Whether the mail is
// still there, and unchanged, is asked each time, so that a kept answer is never shown for a deleted mail.
//
// Requests for the same data at the same time share one query of the database (flights). A request never joins a query that began
// before it, so that no answer is older than its request.
package reading
