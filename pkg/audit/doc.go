// Package audit joins the log with the database and says of every mail what became of it. It is what proves the
// promise: every accepted mail is stored, waits to be stored, or is a dead letter with its reason.
//
//	log heads ──(merged over the shards, in windows of id)──┐
//	database rows ──(in order of id)────────────────────────┼──▶ join by id ──▶ absentees ──▶ Report
//	dead letters, tombstones, the database again ───────────┘                    (few, one by one)
//
// Order matters for a log that moves meanwhile: first what the storer has settled, then the database, then the dead
// letters and tombstones, then the database once more. So a mail that was settled by then must be in one of them. What is in
// none is missing, and stored again from the log when the audit may repair; only then may it leave the log.
//
// A shard has no gaps: sequences that it has lost are named, and stop its purge until an operator accepts the loss. The
// ledger remembers how far each stream had come, so that one which is shorter, or was made again, does not go unnoticed.
//
// Memory is bounded by the window, not by the number of mails: ids rise with time, and a mail is in the log within
// Slack of the time in its id.
package audit
