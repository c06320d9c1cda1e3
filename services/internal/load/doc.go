// Package load is a bounded SMTP load generator that records every answer.
//
// Every mail it sends is a pure function of the seed and the mail's number, so the same bytes can be generated
// again. Every answer is written to a file, one JSON line per mail (Ack). A mail that got 250 must be in the
// database once, byte for byte; a mail that was cut off before its final dot must not be there.
//
//	Generator.Mail(i) ── worker (one connection each) ──▶ SMTP server
//	                        │ Ack
//	                        └──▶ recorder ──▶ acks.jsonl, written before the next mail, synced four times a second
//
// It connects only to the address it was given and looks up no mail exchangers; mailboxes are invented names
// in domains reserved for examples. A run always ends, after a number of mails or a duration.
package load
