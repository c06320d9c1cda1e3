package main

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Report is what was counted.
type Report struct {
	Mails   uint64
	Seconds float64
	// Packs is how many messages these mails went in, as the publisher counts them; 0 when it does not.
	Packs float64
	// PackMails is how many mails those packs held.
	PackMails float64
	// Waits is how often a mail waited so long: index i is e^(i/100) microseconds.
	Waits map[int]uint64
}

// longest is the last bucket, over a minute: nothing waits longer than the publisher's deadline.
const longest = 1800

// record is one goroutine's.
type record struct {
	load  *load
	waits [longest + 1]uint32
}

func (r *record) done(start time.Time) {
	if !r.load.counting.Load() {
		return
	}
	waited := float64(time.Since(start).Nanoseconds()) / 1000
	bucket := int(100 * math.Log(max(1, waited)))
	r.waits[min(bucket, longest)]++
}

// report sums up after the load has ended.
func (l *load) report() Report {
	r := Report{Seconds: l.elapsed.Seconds(), Packs: l.packs.count, PackMails: l.packs.mails, Waits: make(map[int]uint64)}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range l.records {
		for bucket, n := range one.waits {
			if n > 0 {
				r.Waits[bucket] += uint64(n)
				r.Mails += uint64(n)
			}
		}
	}
	return r
}

// packs is the publisher's metric of what it sent together.
type packs struct{ count, mails float64 }

func gather(metrics prometheus.Gatherer) (sum packs) {
	families, _ := metrics.Gather()
	for _, f := range families {
		if f.GetName() != "sluice_publish_pack_mails" && f.GetName() != "sluice_publish_batch_size" {
			continue
		}
		for _, m := range f.GetMetric() {
			sum.count += float64(m.GetHistogram().GetSampleCount())
			sum.mails += m.GetHistogram().GetSampleSum()
		}
	}
	return sum
}
