// Package consume hands the mails of the log to a Handler: a Worker the new ones, of every shard, as long as it runs; a
// Replay a stretch of those that are there. Both fetch, call the handler with batches and settle each mail by its Verdict.
package consume
