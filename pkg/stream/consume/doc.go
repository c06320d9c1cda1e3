// Package consume passes the mails of the log to a Handler. A Worker passes on new mail of every shard as long as it runs; a
// Replay passes on a range of the mail that is in the log. Both fetch messages, call the handler with batches of mails, and
// settle each mail by the Verdict that the handler returns.
//
// Package internal/settle makes the decisions: which mail is passed on when, and what happens to a mail that makes the handler
// fail or crashes the process. This package adds the connection, the clock and the goroutines.
package consume
