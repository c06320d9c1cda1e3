// Package policy decides which recipients we accept mail for, and under which mailbox it is filed.
//
//	RCPT TO:<Ann@Example.COM.> ──▶ normalise ──▶ domain ours? ──▶ alias of the primary domain? ──▶ recipient known? ──▶ ann@example.com
//	                               address.go    domains.go       policy.go                        live.go
//
// Domains come from the configuration and, live, from a NATS key-value bucket; recipients only from the bucket
// (bucket.go has its keys). The bucket is optional: without it every recipient of the configured domains is accepted.
//
// Who may send is said by two lists in the same bucket (entries.go, denied.go); lists/ matches a mail with them, frozen/ is
// what both recipients and lists are kept in.
//
// Resolve and Denies answer from memory and take no lock: readers see one immutable set after the other.
package policy
