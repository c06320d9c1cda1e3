// Package mailstore says what it means to keep mail: the types that go in and come out of the database, the classes of
// its errors, and the rules both databases share. Package mysql (MySQL, MariaDB) and package sqlite implement Store;
// package storetest is the one suite they both have to pass.
//
// The truth about a mail is its raw bytes and its envelope. Everything else that is stored (subject, addresses of the
// header, content type) is derived from them, only serves lists, and may be lossy: it is cut and cleaned so that no
// database can refuse it.
//
// What is stored, and where:
//
//	mail       one narrow row per mail: the envelope as received, size, SHA-256, when it was stored, and how many mailboxes
//	           still list it.
//	mail_raw   one row per part of a mail; parts are cut every PartSize raw bytes, so a replay makes the same parts.
//	inbox      one row per mailbox the mail was accepted for, with what a list shows.
//	counts     how many mails were stored, by day.
//
// All rows of a mail are written in one transaction. The key is the mail's id, so storing a mail again changes nothing;
// that is what makes the log's at-least-once delivery harmless. What a reader deletes leaves an emptied, marked line in inbox,
// and a mail that no mailbox lists any more its row in mail without bytes, until they expire; so a replay brings neither back.
// Whoever locks rows of both mail and inbox locks mail first.
package mailstore
