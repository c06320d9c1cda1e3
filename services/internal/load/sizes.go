package load

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// Range is an inclusive range of small numbers; it is a flag.Value, written "2" or "1-5".
type Range struct{ Min, Max int }

// Set reads "2" or "1-5".
func (r *Range) Set(s string) error {
	low, high, isRange := strings.Cut(s, "-")
	if !isRange {
		high = low
	}
	lo, err1 := strconv.Atoi(low)
	hi, err2 := strconv.Atoi(high)
	if err1 != nil || err2 != nil || lo < 1 || hi < lo || hi > 1000 {
		return fmt.Errorf("%q: want a number or a range like 1-5, from 1 to 1000", s)
	}
	*r = Range{lo, hi}
	return nil
}

func (r *Range) String() string {
	if r.Min == r.Max {
		return strconv.Itoa(r.Min)
	}
	return fmt.Sprintf("%d-%d", r.Min, r.Max)
}

// Sizes is a distribution of mail sizes; it is a flag.Value, written "4KB", "1KB-10MB" (every doubling
// equally likely) or "4KB:9,200KB:1" (weights). A KB is 1,024 bytes.
type Sizes struct{ choices []sizeChoice }

type sizeChoice struct{ min, max, weight uint64 }

// ParseSizes reads the notation of Sizes.
func ParseSizes(s string) (Sizes, error) {
	var out Sizes
	return out, out.Set(s)
}

// Set reads the notation.
func (s *Sizes) Set(text string) error {
	var choices []sizeChoice
	for piece := range strings.SplitSeq(text, ",") {
		c, err := parseChoice(strings.TrimSpace(piece))
		if err != nil {
			return err
		}
		choices = append(choices, c)
	}
	s.choices = choices
	return nil
}

func parseChoice(text string) (sizeChoice, error) {
	sizes, weight, weighted := strings.Cut(text, ":")
	low, high, isRange := strings.Cut(sizes, "-")
	if !isRange {
		high = low
	}
	lo, ok1 := parseBytes(low)
	hi, ok2 := parseBytes(high)
	w := uint64(1)
	var err error
	if weighted {
		w, err = strconv.ParseUint(weight, 10, 32)
	}
	if !ok1 || !ok2 || err != nil || lo == 0 || hi < lo || w == 0 {
		return sizeChoice{}, fmt.Errorf("%q: want sizes like 4KB, 1KB-10MB or 4KB:9,200KB:1, up to 1GB", text)
	}
	return sizeChoice{lo, hi, w}, nil
}

func parseBytes(s string) (uint64, bool) {
	s = strings.ToUpper(strings.TrimSpace(s))
	s = strings.TrimSuffix(strings.TrimSuffix(s, "B"), "I")
	shift := 0
	for i, unit := range []string{"K", "M", "G"} {
		if rest, ok := strings.CutSuffix(s, unit); ok {
			s, shift = rest, 10*(i+1)
		}
	}
	n, err := strconv.ParseUint(s, 10, 31)
	return n << shift, err == nil && n<<shift <= 1<<30
}

func (s *Sizes) String() string {
	pieces := make([]string, len(s.choices))
	for i, c := range s.choices {
		pieces[i] = formatBytes(c.min)
		if c.max != c.min {
			pieces[i] += "-" + formatBytes(c.max)
		}
		if c.weight != 1 {
			pieces[i] += ":" + strconv.FormatUint(c.weight, 10)
		}
	}
	return strings.Join(pieces, ",")
}

func formatBytes(n uint64) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return strconv.FormatUint(n>>20, 10) + "MB"
	case n >= 1<<10 && n%(1<<10) == 0:
		return strconv.FormatUint(n>>10, 10) + "KB"
	}
	return strconv.FormatUint(n, 10)
}

// pick draws a size. It uses whole numbers only, so that every machine draws the same.
func (s *Sizes) pick(r *random) int {
	total := uint64(0)
	for _, c := range s.choices {
		total += c.weight
	}
	at := r.below(total)
	for _, c := range s.choices {
		if at < c.weight {
			return int(c.pick(r))
		}
		at -= c.weight
	}
	return 0
}

func (c sizeChoice) pick(r *random) uint64 {
	first, last := uint64(bits.Len64(c.min)), uint64(bits.Len64(c.max))
	octave := first + r.below(last-first+1)
	low, high := max(c.min, 1<<(octave-1)), min(c.max, 1<<octave-1)
	return low + r.below(high-low+1)
}

// random is SplitMix64: small, good enough for test data, and never changes, unlike a library's.
type random uint64

func newRandom(seed, i uint64) random {
	r := random(seed)
	r = random(r.next() ^ i)
	r.next()
	return r
}

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (r *random) below(n uint64) uint64 {
	high, _ := bits.Mul64(r.next(), n)
	return high
}
