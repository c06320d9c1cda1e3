package frozen

import (
	"fmt"
	"testing"
)

// A change costs what it changes, not what there is.
func TestChangeCopiesLittle(t *testing.T) {
	b := New[string, int]()
	for i := range 200_000 {
		b.Set(fmt.Sprintf("user%d@example.com", i), i)
	}
	before := b.Freeze()
	cost := testing.Benchmark(func(bench *testing.B) {
		for i := range bench.N {
			if i%2 == 0 {
				b.Set("new@example.com", i)
			} else {
				b.Delete("new@example.com")
			}
			b.Freeze()
		}
	})
	if cost.AllocedBytesPerOp() > 100<<10 {
		t.Errorf("one change copies %d bytes", cost.AllocedBytesPerOp())
	}
	if _, ok := before.Get("new@example.com"); ok || before.Len() != 200_000 {
		t.Error("a frozen map has changed")
	}
}

func TestBuilder(t *testing.T) {
	var none *Map[string, int]
	if _, ok := none.Get("a"); ok || none.Len() != 0 {
		t.Error("a nil map is not empty")
	}
	b := New[string, int]()
	b.Delete("a")
	b.Set("a", 1)
	first := b.Freeze()
	b.Set("a", 2)
	b.Set("b", 3)
	second := b.Freeze()
	b.Delete("a")
	for _, tc := range []struct {
		m    *Map[string, int]
		a, n int
	}{{first, 1, 1}, {second, 2, 2}, {b.Freeze(), 0, 1}} {
		if a, _ := tc.m.Get("a"); a != tc.a || tc.m.Len() != tc.n {
			t.Errorf("a is %d of %d keys, want %d of %d", a, tc.m.Len(), tc.a, tc.n)
		}
	}
}
