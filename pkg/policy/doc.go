// Package policy decides which recipients we accept mail for, and under which mailbox it is filed.
//
//	RCPT TO:<Ann@Example.COM.> ──▶ normalise ──▶ domain ours? ──▶ alias of the primary domain? ──▶ recipient known? ──▶ ann@example.com
//	                               address.go    domains.go       policy.go                        live.go
//
// Domains come from the configuration and, live, from a NATS key-value bucket; recipients only from the bucket
// (bucket.go has its keys). The bucket is optional: without it every recipient of the configured domains is accepted.
//
// Two lists in the same bucket, deny and allow, say who may send (entries.go, denied.go). Package lists matches a mail with
// them; package frozen has the map in which recipients and lists are kept.
//
// Resolve and Denies answer from memory without taking a lock: every change publishes a new immutable set.
package policy
