package mailparse

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sluice-mail/sluice/pkg/mailparse/mailtest"
)

// TestHostileMails reads 5,000 of them, from memory and from a stream: the spans are sound, the texts are valid and
// within their limits, and the bytes looked at are linear in the length.
func TestHostileMails(t *testing.T) {
	most, total, steps, flags := 0.0, 0, 0, Flags(0)
	for seed := range uint64(5000) {
		raw := mailtest.Hostile(seed)
		m, n := indexSteps(raw)
		if n > maxSteps*(len(raw)+1) {
			t.Fatalf("seed %d: %d steps for %d bytes", seed, n, len(raw))
		}
		checkSpans(t, m)
		checkTexts(t, m)
		if seed%4 == 0 || !testing.Short() {
			checkStream(t, raw, rand.New(rand.NewPCG(seed, 1)))
		}
		most, total, steps, flags = max(most, float64(n)/float64(len(raw)+1)), total+len(raw), steps+n, flags|m.Flags|m.Summary().Flags
	}
	t.Logf("%d bytes, %.2f steps for each, at most %.1f in one mail", total, float64(steps)/float64(total), most)
	if want := BadHeader | MissingBoundary | Unclosed | BadCharset | BadEncoding | BadDate; !flags.Has(want) {
		t.Errorf("flags seen %v: the mails are not hostile enough", flags)
	}
}

// TestParametersAreScannedOnce: quotes that never close and words without values do not make the scan start again.
func TestParametersAreScannedOnce(t *testing.T) {
	for _, piece := range []string{";a=\"", ";a=\"b\\\"", "; a", ";=", ";a=(", "(", "\"", "\\", ";n*0=%", " "} {
		value := []byte("x/y" + strings.Repeat(piece, 100000/len(piece)))
		s := scanParams(value)
		for s.next() {
		}
		if s.steps > 4*len(value) {
			t.Errorf("%q: %d steps for %d bytes", piece, s.steps, len(value))
		}
	}
}
