// Package mailstore defines how mail is stored: the types written to and read from the database, the classes of its errors,
// and the rules that both databases follow. Package mysql (MySQL, MariaDB) and package sqlite implement Store; both must pass
// the tests in package storetest.
//
// Only the raw bytes of a mail and its envelope are authoritative. Everything else that is stored (subject, addresses of the
// header, content type) is derived from them, is used for lists only, and may be incomplete: it is cut and cleaned so that no
// database refuses it.
//
// What is stored, and where:
//
//	mail       one narrow row per mail: the envelope as received, size, SHA-256, when it was stored, and how many mailboxes
//	           still list it.
//	mail_raw   one row per part of a mail; parts are cut every PartSize raw bytes, so a replay makes the same parts.
//	inbox      one row per mailbox the mail was accepted for, with what a list shows.
//	counts     how many mails were stored, by day.
//
// All rows of a mail are written in one transaction. The key is the mail's id, so storing a mail again changes nothing, and the
// log may deliver it more than once. When a reader deletes a mail, its row in inbox is emptied and marked. When no mailbox lists
// the mail any more, its bytes are deleted and its row in mail stays. These rows remain until they expire, so that a replay does
// not bring the mail back. A transaction that locks rows of both mail and inbox locks mail first.
package mailstore
