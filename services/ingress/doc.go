// Package ingress is the thin SMTP service: it receives a mail, writes it to the log and answers 250 when
// the log has it on disk. It parses no MIME, uses no database and keeps no state. So any number may run behind a load
// balancer, and any of them may be killed at any time.
//
//	SMTP ──▶ smtpd.Server ──▶ sink: Begin, Write… ──▶ spool ──▶ Commit: id, sha256 ──▶ publish.Publisher ──▶ MAIL_<p>
//	            │ RCPT                                                                       │ log's ack
//	            └──▶ policy                                                          250 ◀───┘
//
// Consumes: SMTP, the policy bucket. Produces: mail.in.<p>, mail.part.<p>. Answers 250 when the log has acknowledged, and 4xx for
// every fault of ours.
package ingress
