package bench

import (
	"fmt"
	"math"
	"slices"
)

// Spread is a figure over the rounds: its median, and how far the rounds differ.
type Spread struct {
	Median, Min, Max float64
	rounds           int
}

// Over is the spread of one value per round.
func Over(values []float64) Spread {
	if len(values) == 0 {
		return Spread{Median: math.NaN()}
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	median := sorted[middle]
	if len(sorted)%2 == 0 {
		median = (sorted[middle-1] + median) / 2
	}
	return Spread{Median: median, Min: sorted[0], Max: sorted[len(sorted)-1], rounds: len(sorted)}
}

// Of is the spread of a figure of each round.
func Of[T any](rounds []T, figure func(T) float64) Spread {
	var values []float64
	for _, r := range rounds {
		values = append(values, figure(r))
	}
	return Over(values)
}

// Ratio compares round by round, so that a machine that gets slower for a while is slower for both.
func Ratio[A, B any](a []A, of func(A) float64, b []B, to func(B) float64) Spread {
	var values []float64
	for i := range min(len(a), len(b)) {
		if base := to(b[i]); base > 0 {
			values = append(values, of(a[i])/base)
		}
	}
	return Over(values)
}

// Text is the median, and min and max where there were several rounds; a dash where nothing was measured.
func (s Spread) Text(digits int) string {
	switch {
	case math.IsNaN(s.Median):
		return "–"
	case s.rounds == 1:
		return fmt.Sprintf("%.*f", digits, s.Median)
	}
	return fmt.Sprintf("%.*f (%.*f–%.*f)", digits, s.Median, digits, s.Min, digits, s.Max)
}

// Mid is the median alone.
func (s Spread) Mid(digits int) string {
	if math.IsNaN(s.Median) {
		return "–"
	}
	return fmt.Sprintf("%.*f", digits, s.Median)
}
