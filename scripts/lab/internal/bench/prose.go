package bench

import (
	"math/rand/v2"
	"strings"
)

// Prose makes text of words, which packs about as well as real mail does.
type Prose struct {
	rng   *rand.Rand
	words []string
}

// NewProse makes a vocabulary.
func NewProse(rng *rand.Rand) *Prose {
	p := &Prose{rng, make([]string, 3000)}
	for i := range p.words {
		b := make([]byte, 2+rng.IntN(9))
		for j := range b {
			b[j] = "etaoinshrdlucmfwypvbgkjqxz"[min(rng.IntN(26), rng.IntN(26))]
		}
		p.words[i] = string(b)
	}
	return p
}

// Bytes is size bytes of text.
func (p *Prose) Bytes(size int) []byte {
	var b strings.Builder
	for b.Len() < size {
		b.WriteString(p.words[min(p.rng.IntN(len(p.words)), p.rng.IntN(len(p.words)))])
		b.WriteString([]string{" ", " ", " ", " ", " ", " ", ", ", ".\r\n"}[p.rng.IntN(8)])
	}
	return []byte(b.String()[:size])
}
