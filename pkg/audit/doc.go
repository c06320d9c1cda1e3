// Package audit joins the log with the database and reports what became of every mail. It proves the promise that every
// accepted mail is stored, waits to be stored, or is a dead letter with its reason.
//
//	log heads ──(merged over the shards, in windows of id)──┐
//	database rows ──(in order of id)────────────────────────┼──▶ join by id ──▶ absentees ──▶ Report
//	dead letters, tombstones, the database again ───────────┘                    (few, one by one)
//
// The log changes during an audit, so the order of reading matters: first how far the storer has settled, then the database,
// then the dead letters and tombstones, then the database once more. A mail that was settled at the first step must be in one
// of these. A mail that is in none is missing. If the audit may repair, such mail is stored again from the log, and only then
// may it leave the log.
//
// The sequences of a shard must have no gaps: lost ones are reported, and stop the purge of that shard until an operator
// accepts the loss. The ledger remembers the last sequence of each stream, so that a stream that became shorter, or was deleted
// and created again, is noticed.
//
// The storer that leads audits each mail soon after it is settled, and looks for it again before it leaves the log. It reads it once:
// what must be in the database because of it is remembered, as sums over ranges of id, and before the purge the database is asked
// for the same sums. They are the log's, read by the audit itself and never told by whoever stores, so that a storer that
// acknowledges what it did not store cannot vouch for itself. A mail enters a sum only after it was found stored, by its id or by a
// sum that is the whole range's; one that comes late is added to the range its id is in. So an equal sum means: all of these
// mails are there, whatever was settled in which order. A sum that differs, a dead letter, a copy, a gap, a process that has just
// taken the lead: all that costs is that those messages are read from the log again, which names what is wrong and repairs it.
//
// A pack carries a digest of its mails, made by the ingress that accepted them. As long as the sums agree, the envelopes in the pack
// are not decoded. Where they do not, the packs concerned are read again, mail by mail, so a wrong digest costs time and
// hides nothing: what is stored is what the envelopes say, and the database's sum is of that.
//
// Memory is bounded by the window, not by the number of mails, because ids rise with time, and a mail is in the log within
// Slack of the time in its id.
package audit
