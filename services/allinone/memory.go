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
	// smallHeap is the heap up to which the garbage collector is left alone.
	smallHeap = 256 << 20
	// memoryTick is how often the heap is looked at.
	memoryTick = 250 * time.Millisecond
	// quietFor without quietBytes of allocations is quiet. It is longer than the 10 s for which the log keeps what it
	// has written or read in memory (nats-server 2.15).
	quietFor   = 12 * time.Second
	quietBytes = 64 << 20
)

// keepMemory is for the embedded log, whose memory is 8 MiB buffers. A buffer that is free waits in a pool for two
// collections, so that with Go's default, a collection whenever the heap has doubled, most of a large heap is such buffers
// (2.3 GiB after 120 mails of 10 MB, and still there when nothing had happened for minutes). So a large heap is collected
// more often, which costs next to nothing as there are hardly any pointers in it, and is given back when it is quiet.
// A hard limit (GOMEMLIMIT) would make the log collect all the time instead: what was written in the last ten seconds
// stays in memory whatever the limit. Whoever sets GOGC or GOMEMLIMIT decides himself.
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

// heap is what the runtime says.
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

// look returns the percentage by which the heap may grow until it is collected, and whether to give memory back.
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
