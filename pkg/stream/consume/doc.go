// Package consume hands the mails of the log to a Handler: a Worker the new ones, of every shard, as long as it runs; a
// Replay a stretch of those that are there. Both fetch, call the handler with batches and settle each mail by its Verdict.
// What is handed on when and how, and what becomes of a mail that makes the handler fail or ends the process, is decided by
// internal/settle; here are the connection, the clock and the goroutines that it lacks.
package consume
