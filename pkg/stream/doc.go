// Package stream is the durable log: NATS JetStream, between the SMTP ingress and everything that stores mail.
//
// A mail's life in it:
//
//	publish.Publisher ─▶ unconfirmed ─ack─▶ in the log (250) ─▶ delivered to storer ─┬─ stored in MySQL ─▶ acknowledged
//	      │                   │                     ▲                                ├─ retry: MySQL away, kept in hand
//	      │                   └─ deadline: 451      └── replay, dead letter retry ───┴─ dead: copied to MAIL_DEAD, acknowledged
//	      └─ refused: 451/452, nothing is in the log
//
// A message of the log carries one mail or several, a pack: under load many mails share one write, one fsync and one
// acknowledgement. How they share it is in pack.go. Names, subjects and headers are in topology.go and nowhere else. What
// an acknowledgement is worth is in durability.go.
//
// The rooms build on this package, which imports none of them: publish (shards, packs, large mail, the table of outcomes),
// consume (Worker, Replay, poison), dead (dead letters), retain (retention).
package stream
