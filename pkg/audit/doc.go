// Package audit joins the log with the database and says of every mail what became of it. It is what proves the
// promise: every accepted mail is stored, waits to be stored, or is a dead letter with its reason.
//
//	log heads ──(merged over the shards, in windows of id)──┐
//	dead letters ───────────────────────────────────────────┼──▶ join by id ──▶ Report
//	database rows ──(in order of id)────────────────────────┘
//
// Order matters for a log that moves meanwhile: first what the storer has settled, then the dead letters, then the
// database. So a mail that was settled by then must be in one of the other two.
//
// Memory is bounded by the window, not by the number of mails: ids rise with time, and a mail is in the log within
// Slack of the time in its id.
package audit
