// Package frozen has a map that can be read without a lock while it is changed: a Builder makes the changes, and freezes a
// version for readers. A frozen version never changes. A change copies about a thousandth of the map.
package frozen

import (
	"hash/maphash"
	"maps"
)

// shardCount cuts a map so that a change copies a thousandth of it.
const shardCount = 1024

// Map is immutable. The zero Map and a nil one are empty.
type Map[K comparable, V any] struct {
	seed   maphash.Seed
	shards [shardCount]map[K]V
	size   int
}

func (m *Map[K, V]) shardOf(key K) int { return int(maphash.Comparable(m.seed, key) % shardCount) }

// Get returns the value of a key, and whether there is one.
func (m *Map[K, V]) Get(key K) (value V, ok bool) {
	if m == nil || m.size == 0 {
		return value, false
	}
	value, ok = m.shards[m.shardOf(key)][key]
	return value, ok
}

// Len counts the keys.
func (m *Map[K, V]) Len() int {
	if m == nil {
		return 0
	}
	return m.size
}

// Builder is a Map that changes. What it has frozen shares its shards until they change.
type Builder[K comparable, V any] struct {
	m      Map[K, V]
	shared [shardCount]bool
}

// New returns an empty Builder.
func New[K comparable, V any]() *Builder[K, V] {
	return &Builder[K, V]{m: Map[K, V]{seed: maphash.MakeSeed()}}
}

// Get is Map.Get for the map as it is now.
func (b *Builder[K, V]) Get(key K) (value V, ok bool) { return b.m.Get(key) }

// Set gives a key its value.
func (b *Builder[K, V]) Set(key K, value V) {
	shard := b.own(key)
	before := len(shard)
	shard[key] = value
	b.m.size += len(shard) - before
}

// Delete removes a key.
func (b *Builder[K, V]) Delete(key K) {
	if _, ok := b.m.Get(key); ok {
		delete(b.own(key), key)
		b.m.size--
	}
}

// own returns the shard of a key, which no frozen map has.
func (b *Builder[K, V]) own(key K) map[K]V {
	i := b.m.shardOf(key)
	if b.shared[i] {
		b.m.shards[i], b.shared[i] = maps.Clone(b.m.shards[i]), false
	}
	if b.m.shards[i] == nil {
		b.m.shards[i] = make(map[K]V)
	}
	return b.m.shards[i]
}

// Freeze returns the map as it is now.
func (b *Builder[K, V]) Freeze() *Map[K, V] {
	for i := range b.shared {
		b.shared[i] = true
	}
	frozen := b.m
	return &frozen
}
