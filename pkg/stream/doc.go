// Package stream is the durable log: NATS JetStream, between the SMTP ingress and everything that stores mail.
//
// A mail's life in it:
//
//	Publisher.Publish ─▶ unconfirmed ─ack─▶ in the log (250) ─▶ delivered to storer ─┬─ stored in MySQL ─▶ acknowledged
//	      │                  │                     ▲                                 ├─ retry: MySQL away, delivered again
//	      │                  └─ deadline: 451      └── replay, dead letter retry ────┴─ dead: copied to MAIL_DEAD, acknowledged
//	      └─ refused: 451/452, nothing is in the log
//
// Names, subjects and headers are in topology.go and nowhere else. What an acknowledgement is worth is in
// durability.go. How many mails share one fsync is in committer.go and batch.go; mail larger than one message
// is in large.go; what the publisher tells the SMTP client is in errors.go.
package stream
