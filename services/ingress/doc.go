// Package ingress is the thin SMTP service: it takes a mail from the network, writes it to the log and says 250 when
// the log has it on disk. It parses no MIME, knows no database and keeps no state: any number may run behind a load
// balancer, and any of them may be killed at any time.
//
//	SMTP ──▶ smtpd.Server ──▶ sink: Begin, Write… ──▶ spool ──▶ Commit: id, sha256 ──▶ publish.Publisher ──▶ MAIL_<p>
//	            │ RCPT                                                                       │ log's ack
//	            └──▶ policy                                                          250 ◀───┘
//
// Consumes: SMTP, the policy bucket. Produces: mail.in.<p>, mail.part.<p>. Answers 250 when the log has acknowledged;
// every fault of ours is a 4xx.
package ingress
