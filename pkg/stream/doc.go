// Package stream is the durable log: NATS JetStream, between the SMTP ingress and everything that stores mail.
//
// A mail's life in it:
//
//	publish.Publisher ─▶ unconfirmed ─ack─▶ in the log (250) ─▶ delivered to storer ─┬─ stored in MySQL ─▶ acknowledged
//	      │                   │                     ▲                                ├─ retry: MySQL away, kept in hand
//	      │                   └─ deadline: 451      └── replay, dead letter retry ───┴─ dead: copied to MAIL_DEAD, acknowledged
//	      └─ refused: 451/452, nothing is in the log
//
// A message of the log carries one mail, or several: a pack. Under load many mails share one write, one fsync and one
// acknowledgement. The format is in pack.go. Names, subjects and headers are defined in topology.go and nowhere else.
// Whether the log is on disk when it acknowledges is determined in durability.go.
//
// The subpackages build on this package, which imports none of them: publish (shards, packs, large mail, what each answer
// means), consume (Worker, Replay, mail that crashes a process), dead (dead letters), retain (retention).
package stream
