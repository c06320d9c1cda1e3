package load

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"time"
)

// Report sums a run up.
type Report struct {
	Tried, Acked, Refused, Unconfirmed, Cut uint64
	Bytes                                   uint64        // of the acked mails
	Elapsed                                 time.Duration // from the first connection to the last answer
	Reconnects                              uint64        // connections made anew after one was lost
	// P50, P99 and Max are from the first command of a mail to the answer after its final dot, of acked
	// mails; P50 and P99 are exact to 3 %.
	P50, P99, Max time.Duration
	Codes         map[int]uint64    // answers that decided a mail
	Errors        map[string]uint64 // why connections were lost or not to be had
}

// Rate is acked mails per second.
func (r Report) Rate() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Acked) / r.Elapsed.Seconds()
}

// String is the report for people, in several lines.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "tried %d: acked %d, refused %d, unconfirmed %d, cut %d\n", r.Tried, r.Acked, r.Refused, r.Unconfirmed, r.Cut)
	fmt.Fprintf(&b, "%.1f mails/s, %.2f MB/s over %v\n", r.Rate(), float64(r.Bytes)/(1<<20)/max(r.Elapsed.Seconds(), 1e-9), r.Elapsed.Round(time.Millisecond))
	fmt.Fprintf(&b, "latency p50 %v, p99 %v, max %v\n", round(r.P50), round(r.P99), round(r.Max))
	for _, code := range slices.Sorted(maps.Keys(r.Codes)) {
		fmt.Fprintf(&b, "answer %d: %d\n", code, r.Codes[code])
	}
	if r.Reconnects > 0 {
		fmt.Fprintf(&b, "reconnects: %d\n", r.Reconnects)
	}
	for _, text := range slices.Sorted(maps.Keys(r.Errors)) {
		fmt.Fprintf(&b, "%d × %s\n", r.Errors[text], text)
	}
	return b.String()
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }

// tally collects the Report while the workers run.
type tally struct {
	mu        sync.Mutex
	report    Report
	latencies histogram
}

func (t *tally) add(o *outcome, size int, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Tried++
	switch o.state {
	case Acked:
		t.report.Acked++
		t.report.Bytes += uint64(size)
		t.latencies.add(took)
		t.report.Max = max(t.report.Max, took)
	case Refused:
		t.report.Refused++
	case Unconfirmed:
		t.report.Unconfirmed++
	case Cut:
		t.report.Cut++
	}
	if o.reply.code != 0 {
		t.report.Codes[o.reply.code]++
	}
	if o.err != nil {
		t.countError(o.err)
	}
}

func (t *tally) lost(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.countError(err)
}

func (t *tally) reconnected() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Reconnects++
}

// countError groups errors by their last words: what stands before differs by port.
func (t *tally) countError(err error) {
	const most = 20
	text := err.Error()
	if i := strings.LastIndex(text, "->"); i >= 0 {
		if _, after, found := strings.Cut(text[i:], ": "); found {
			text = after
		}
	}
	if _, known := t.report.Errors[text]; !known && len(t.report.Errors) >= most {
		text = "other errors"
	}
	t.report.Errors[text]++
}

func (t *tally) sum(elapsed time.Duration) Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.report
	r.Elapsed = elapsed
	r.P50, r.P99 = min(t.latencies.quantile(50), r.Max), min(t.latencies.quantile(99), r.Max)
	r.Codes, r.Errors = maps.Clone(r.Codes), maps.Clone(r.Errors)
	return r
}

// histogram counts microseconds in steps of at most 1/32 of the value.
type histogram struct {
	counts [64 * 32]uint64
	total  uint64
}

func (h *histogram) add(d time.Duration) {
	us := uint64(max(d, 0) / time.Microsecond)
	h.total++
	if us < 64 {
		h.counts[us]++
		return
	}
	shift := bits.Len64(us) - 6
	h.counts[shift*32+int(us>>shift)]++
}

// quantile is the upper end of the step in which q percent are reached.
func (h *histogram) quantile(q uint64) time.Duration {
	left := (h.total*q + 99) / 100
	if left == 0 {
		return 0
	}
	for i, n := range h.counts {
		if n < left {
			left -= n
			continue
		}
		if i < 64 {
			return time.Duration(i) * time.Microsecond
		}
		shift := i/32 - 1
		return time.Duration((uint64(i-shift*32)+1)<<shift-1) * time.Microsecond
	}
	return 0
}
