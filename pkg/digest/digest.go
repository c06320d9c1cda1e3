// Package digest has the checks that are summed up over many mails, so that two places that should have the same mails are compared
// by one number: the log by the header of a message, the database by a SELECT. The formulas are part of what is stored: SQL
// computes them too, and a mailbox is a key of the database and of the cache.
package digest

import (
	"crypto/sha256"
	"hash/crc32"
)

// Mailbox is the key of a mailbox in the database and in the cache: the first 16 bytes of its SHA-256, so of fixed length
// whatever the address, and free of bytes that a cache key may not have. mailbox must be normalised.
func Mailbox(mailbox []byte) [16]byte {
	sum := sha256.Sum256(mailbox)
	return [16]byte(sum[:16])
}

// Mail is the check of a mail: the CRC-32 (IEEE) of its id and SHA-256.
func Mail(id [16]byte, sum [sha256.Size]byte) uint64 {
	var both [len(id) + len(sum)]byte
	copy(both[copy(both[:], id[:]):], sum[:])
	return uint64(crc32.ChecksumIEEE(both[:]))
}

// Line is the check of a mail's line in a mailbox: the CRC-32 (IEEE) of mailbox and id.
func Line(mailbox, id [16]byte) uint64 {
	var both [len(mailbox) + len(id)]byte
	copy(both[copy(both[:], mailbox[:]):], id[:])
	return uint64(crc32.ChecksumIEEE(both[:]))
}
