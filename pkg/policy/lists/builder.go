package lists

import (
	"maps"
	"net/netip"
	"time"

	"github.com/sluice-mail/sluice/pkg/policy/frozen"
)

// Builder makes Sets. It is for one goroutine.
type Builder struct {
	four, six *network
	texts     *frozen.Builder[text, pair]
	counts    counts
	patterns  int
	expiring  map[Name]time.Time
	next      time.Time // no entry expires earlier; zero: none does
}

// NewBuilder returns an empty one.
func NewBuilder() *Builder {
	return &Builder{texts: frozen.New[text, pair](), counts: make(counts), expiring: make(map[Name]time.Time)}
}

// Set adds an entry or replaces it. A network that cannot be read is left out.
func (b *Builder) Set(n Name, e Entry) {
	b.put(n, &e)
	if e.Expires.IsZero() {
		delete(b.expiring, n)
		return
	}
	b.expiring[n] = e.Expires
	if b.next.IsZero() || e.Expires.Before(b.next) {
		b.next = e.Expires
	}
}

// Remove removes an entry.
func (b *Builder) Remove(n Name) {
	b.put(n, nil)
	delete(b.expiring, n)
}

// Expire removes what has expired, and says whether there was any. It costs nothing before the first entry is due.
func (b *Builder) Expire(now time.Time) (any bool) {
	if b.next.IsZero() || now.Before(b.next) {
		return false
	}
	b.next = time.Time{}
	for n, at := range b.expiring {
		switch {
		case !now.Before(at):
			b.Remove(n)
			any = true
		case b.next.IsZero() || at.Before(b.next):
			b.next = at
		}
	}
	return any
}

// Freeze returns the lists as they are now.
func (b *Builder) Freeze() *Set {
	return &Set{four: b.four, six: b.six, texts: b.texts.Freeze(), counts: maps.Clone(b.counts), patterns: b.patterns > 0}
}

func (b *Builder) put(n Name, e *Entry) {
	edit := func(p pair) pair {
		b.count(n, p.get(n.Allow), e)
		return p.with(n.Allow, e)
	}
	if n.Kind == Network {
		b.putNetwork(n.Value, edit)
		return
	}
	key := textOf(n)
	old, _ := b.texts.Get(key)
	if p := edit(old); p != (pair{}) {
		b.texts.Set(key, p)
	} else {
		b.texts.Delete(key)
	}
}

func (b *Builder) putNetwork(value string, edit func(pair) pair) {
	prefix, err := netip.ParsePrefix(value)
	if err != nil {
		return
	}
	root := &b.six
	if prefix.Addr().Is4() {
		root = &b.four
	}
	hi, lo := words(prefix.Masked().Addr())
	*root = (*root).change(hi, lo, prefix.Bits(), edit)
}

// count keeps the numbers when an entry becomes another one.
func (b *Builder) count(n Name, before, after *Entry) {
	change := 0
	switch {
	case before == nil && after != nil:
		change = 1
	case before != nil && after == nil:
		change = -1
	}
	b.counts[countKey{n.Allow, n.Kind}] += change
	if textOf(n).class&below != 0 {
		b.patterns += change
	}
}
