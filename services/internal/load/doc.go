// Package load is a bounded SMTP load generator that remembers what it was promised.
//
// Every mail it sends is a pure function of the seed and the mail's number, so whoever knows both can make
// the same bytes again. Every answer is written to a file, one JSON line per mail (Ack): what got 250 must
// be found in the database, byte for byte, once; what was cut before its final dot must not be.
//
//	Generator.Mail(i) ── worker (one connection each) ──▶ SMTP server
//	                        │ Ack
//	                        └──▶ recorder ──▶ acks.jsonl, written before the next mail, synced four times a second
//
// It connects to the one address it was given and looks up no mail exchangers: mailboxes are made-up names
// in domains reserved for examples. A run always ends, by number or by time.
package load
