package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// smallHeap is the size of the heap up to which the garbage collector's settings are not changed.
	smallHeap = 256 << 20
	// memoryTick is how often the heap is looked at.
	memoryTick = 250 * time.Millisecond
	// The process is quiet when it allocated less than quietBytes within quietFor. That is longer than the 10 s for which the
	// log keeps what it has written or read in memory (nats-server 2.15).
	quietFor   = 12 * time.Second
	quietBytes = 64 << 20
)

// keepMemory bounds the memory of the embedded log, which consists of buffers of 8 MiB. A free buffer stays in a pool for two
// garbage collections. Go's default is to collect whenever the heap has doubled; then most of a large heap is free buffers
// (2.3 GiB after 120 mails of 10 MB, and the same after minutes without work). Therefore a large heap is collected more often, which
// costs little because it has few pointers, and is returned to the system when the process is quiet.
// A hard limit (GOMEMLIMIT) would instead make the garbage collector run all the time, because what was written in the last ten
// seconds stays in memory whatever the limit. If GOGC or GOMEMLIMIT is set, nothing is changed.
func keepMemory(ctx context.Context) error {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		<-ctx.Done()
		return nil
	}
	ticker := time.NewTicker(memoryTick)
	defer ticker.Stop()
	k := keeper{percent: 100}
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			percent, giveBack := k.look(now, readHeap())
			if percent != k.percent {
				k.percent = percent
				debug.SetGCPercent(percent)
			}
			if giveBack {
				for range 3 { // twice until the pools let go of their buffers, once until those are free
					runtime.GC()
				}
				debug.FreeOSMemory()
			}
		}
	}
}

// heap is the state of the heap, as reported by the runtime.
type heap struct {
	live   uint64 // bytes that the last collection found in use
	held   uint64 // bytes the process has of the system
	allocs uint64 // bytes allocated since the start
}

func readHeap() heap {
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"}, {Name: "/gc/heap/allocs:bytes"},
	}
	metrics.Read(samples)
	return heap{
		live: samples[0].Value.Uint64(), allocs: samples[3].Value.Uint64(),
		held: samples[1].Value.Uint64() - samples[2].Value.Uint64(),
	}
}

// keeper decides.
type keeper struct {
	percent int       // GOGC as it is
	since   time.Time // when allocs was read
	allocs  uint64
	given   bool // memory was given back since anything happened
}

// look returns the percentage by which the heap may grow before the next collection (GOGC), and whether to return memory to the
// system.
func (k *keeper) look(now time.Time, h heap) (percent int, giveBack bool) {
	if h.allocs-k.allocs > quietBytes || k.since.IsZero() {
		k.since, k.allocs, k.given = now, h.allocs, false
	}
	if !k.given && h.held > smallHeap && now.Sub(k.since) >= quietFor {
		k.given, giveBack = true, true
	}
	for _, percent := range []int{100, 60} {
		if h.live*uint64(100+percent)/100 <= smallHeap {
			return percent, giveBack
		}
	}
	return 20, giveBack
}
