// Package storer carries the log into the database, which is the truth, and keeps the log in bounds.
//
//	MAIL_<p> ──▶ consume.Worker ──▶ handler: decode, parse ──▶ mailstore.PutBatch ──▶ COMMIT ──▶ ack
//	                 │ dead                                         │ after the commit
//	                 ▼                                              ▼
//	             MAIL_DEAD                                     mail.stored.<p>
//
// Beside the worker run the janitor (purges stored mail from the log), the auditor (joins log and database) and the
// upkeep of the database's partitions. Consumes: MAIL_<p> by consumer storer. Produces: rows, mail.stored.<p>, dead
// letters. Acknowledges after COMMIT.
package storer
