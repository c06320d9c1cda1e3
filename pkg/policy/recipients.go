package policy

import (
	"hash/fnv"
	"maps"
)

// shardCount cuts a set of recipients so that a change copies a thousandth of it.
const shardCount = 1024

// recipientSet is a set of mailboxes. A frozen one is immutable.
type recipientSet struct {
	shards [shardCount]map[string]struct{}
	size   int
}

func shardOf(mailbox string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(mailbox))
	return int(h.Sum32() % shardCount)
}

func (s *recipientSet) has(mailbox string) bool {
	if s == nil {
		return false
	}
	_, ok := s.shards[shardOf(mailbox)][mailbox]
	return ok
}

func (s *recipientSet) len() int {
	if s == nil {
		return 0
	}
	return s.size
}

// growingSet is a recipientSet that changes. What it has frozen shares its shards until they change.
type growingSet struct {
	recipientSet
	shared [shardCount]bool
}

// set records that a mailbox is there or not.
func (g *growingSet) set(mailbox string, present bool) {
	if g.has(mailbox) == present {
		return
	}
	i := shardOf(mailbox)
	if g.shared[i] || g.shards[i] == nil {
		g.shared[i] = false
		if g.shards[i] = maps.Clone(g.shards[i]); g.shards[i] == nil {
			g.shards[i] = make(map[string]struct{})
		}
	}
	if present {
		g.shards[i][mailbox] = struct{}{}
		g.size++
	} else {
		delete(g.shards[i], mailbox)
		g.size--
	}
}

// freeze returns the set as it is now.
func (g *growingSet) freeze() *recipientSet {
	for i := range g.shared {
		g.shared[i] = true
	}
	frozen := g.recipientSet
	return &frozen
}
