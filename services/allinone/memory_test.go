package main

import (
	"testing"
	"time"
)

func TestMemoryIsGivenBackOnceWhenItIsQuiet(t *testing.T) {
	var k keeper
	now, h, times := time.Unix(0, 0), heap{held: 2 << 30}, 0
	tick := func(allocated uint64) bool {
		h.allocs += allocated
		now = now.Add(memoryTick)
		_, giveBack := k.look(now, h)
		if giveBack {
			times++
		}
		return giveBack
	}
	for range 400 {
		if tick(quietBytes/20) && times > 1 {
			t.Fatal("memory is given back again and again while mail comes in")
		}
	}
	if times != 0 {
		t.Fatal("memory is given back while mail comes in")
	}
	for range 1000 {
		tick(1000)
	}
	if times != 1 {
		t.Errorf("memory was given back %d times in four quiet minutes, want once", times)
	}
	h.held = smallHeap
	tick(2 * quietBytes)
	for range 1000 {
		tick(1000)
	}
	if times != 1 {
		t.Error("a small heap was given back")
	}
}

func TestLargeHeapsAreCollectedMoreOften(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{{0, 100}, {120 << 20, 100}, {150 << 20, 60}, {180 << 20, 20}, {2 << 30, 20}} {
		if got, _ := new(keeper).look(time.Unix(1, 0), heap{live: c.live}); got != c.want {
			t.Errorf("with %d MiB in use %d %%, want %d", c.live>>20, got, c.want)
		}
	}
}
