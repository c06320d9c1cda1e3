package fleet

import "testing"

// Test runs beside each other, and one that has used up all there is.
func TestNoPortIsGivenOutTwice(t *testing.T) {
	one, other := newAddrs(), newAddrs()
	for _, p := range []*addrs{one, other} {
		t.Cleanup(func() {
			for _, l := range p.guards {
				_ = l.Close()
			}
		})
	}
	other.look = one.look
	seen := make(map[string]bool)
	for range 100 {
		for _, p := range []*addrs{one, other} {
			addr := p.next()
			if seen[addr] || addr == loopback(0) {
				t.Errorf("%s is given out again", addr)
			}
			seen[addr] = true
		}
	}
}

func TestPortsComeAgainWhenThereAreNoMore(t *testing.T) {
	p := newAddrs()
	for range 2 {
		if !p.claim() {
			t.Skip("skipped: all ports are taken")
		}
	}
	t.Cleanup(func() {
		for _, l := range p.guards {
			_ = l.Close()
		}
	})
	first := p.owned[0]
	p.left, p.used = 0, blockSize
	if addr := p.next(); p.owned[1] != first || addr == loopback(0) {
		t.Errorf("%s is given out of the blocks %v, want one of that at %d", addr, p.owned, first)
	}
}
