package lists

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// network is a node of a tree of networks: those within it are below it, by their first bit after its own. A tree is
// never changed: a change returns a new one, which shares all but the nodes on the way to what changed.
type network struct {
	hi, lo uint64 // the address, the bits after length are 0
	length int
	pair   pair
	below  [2]*network
}

// words are the 128 bits of an address; those of an IPv4 address stand at the front.
func words(a netip.Addr) (hi, lo uint64) {
	if a.Is4() {
		four := a.As4()
		return uint64(binary.BigEndian.Uint32(four[:])) << 32, 0
	}
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}

// common is how many bits two addresses have in common at the front.
func common(hi1, lo1, hi2, lo2 uint64) int {
	if hi1 != hi2 {
		return bits.LeadingZeros64(hi1 ^ hi2)
	}
	return 64 + bits.LeadingZeros64(lo1^lo2)
}

// bitAt returns the bit behind the first n.
func bitAt(hi, lo uint64, n int) int {
	if n < 64 {
		return int(hi >> (63 - n) & 1)
	}
	return int(lo >> (127 - n) & 1)
}

// change returns the tree with what edit makes of the pair of the network hi, lo, length.
func (n *network) change(hi, lo uint64, length int, edit func(pair) pair) *network {
	if n == nil {
		return (&network{hi: hi, lo: lo, length: length, pair: edit(pair{})}).compact()
	}
	same := min(common(n.hi, n.lo, hi, lo), n.length, length)
	switch {
	case same == n.length && same == length:
		with := *n
		with.pair = edit(n.pair)
		return with.compact()
	case same == n.length: // within n
		with := *n
		i := bitAt(hi, lo, same)
		with.below[i] = n.below[i].change(hi, lo, length, edit)
		return with.compact()
	}
	added := (*network)(nil).change(hi, lo, length, edit)
	switch {
	case added == nil: // there was nothing to remove
		return n
	case same == length: // n is within it
		added.below[bitAt(n.hi, n.lo, same)] = n
		return added
	}
	fork := &network{length: same}
	fork.hi, fork.lo = mask(hi, lo, same)
	fork.below[bitAt(hi, lo, same)], fork.below[bitAt(n.hi, n.lo, same)] = added, n
	return fork
}

func mask(hi, lo uint64, length int) (maskedHi, maskedLo uint64) {
	if length < 64 {
		return hi &^ (^uint64(0) >> length), 0
	}
	return hi, lo &^ (^uint64(0) >> (length - 64))
}

// compact removes a node that says nothing.
func (n *network) compact() *network {
	switch {
	case n.pair != pair{} || n.below[0] != nil && n.below[1] != nil:
		return n
	case n.below[0] != nil:
		return n.below[0]
	}
	return n.below[1]
}

// visit shows the pairs of the networks that an address is in, the largest first.
func (n *network) visit(a netip.Addr, show func(pair)) {
	hi, lo := words(a)
	for n != nil && common(n.hi, n.lo, hi, lo) >= n.length {
		if n.pair != (pair{}) {
			show(n.pair)
		}
		if n.length == a.BitLen() {
			return
		}
		n = n.below[bitAt(hi, lo, n.length)]
	}
}
