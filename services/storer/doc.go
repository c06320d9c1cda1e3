// Package storer stores the mail of the log in the database, and purges stored mail from the log.
//
//	MAIL_<p> ──▶ consume.Worker ──▶ handler: decode, parse ──▶ mailstore.PutBatch ──▶ COMMIT ──▶ ack
//	                 │ dead                                         │ after the commit
//	                 ▼                                              ▼
//	             MAIL_DEAD                                     mail.stored.<p>
//
// Beside the worker it runs the janitor (purges stored mail from the log), the auditor (compares log and database) and the
// maintenance of the database's partitions. Consumes: MAIL_<p> by consumer storer. Produces: rows, mail.stored.<p>, dead
// letters. Acknowledges after COMMIT.
package storer
