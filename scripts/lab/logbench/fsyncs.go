package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"time"

	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
	"github.com/sluice-mail/sluice/scripts/lab/logbench/server"
)

// strace writes a line for each fsync into a file beside the store. It slows the server down, so that nothing but the
// number of fsyncs is used of such a run.
var strace = []string{"strace", "--seccomp-bpf", "-f", "-q", "-e", "signal=none", "-e", "trace=fsync,fdatasync,sync_file_range", "-o", "{store}.fsyncs"}

// withFsyncs repeats each synced row under strace and returns the results by name.
func (m *measurer) withFsyncs(ctx context.Context, p point) (map[string]result, error) {
	if _, err := exec.LookPath("strace"); err != nil {
		bench.Progress("fsyncs are not counted: needs strace (apt-get install strace)")
		return nil, nil
	}
	results := make(map[string]result)
	for _, r := range m.rows() {
		if !r.synced || !r.suits(p) {
			continue
		}
		bench.Progress("%s: counting fsyncs of %s", m.title(p), r.name)
		res, err := m.measure(ctx, r, p, min(m.length, 3*time.Second), min(m.warmup, time.Second), strace...)
		if err != nil {
			return nil, err
		}
		results[r.name] = res
	}
	return results, nil
}

// countFsyncs counts what strace has written so far, by server.
func countFsyncs(c *server.Cluster, traced bool) []int {
	counts := make([]int, c.Size())
	if !traced {
		return counts
	}
	for i := range counts {
		// A call that another thread interrupts has two lines, "fsync(7 <unfinished ...>" and "<... fsync resumed>".
		trace, _ := os.ReadFile(c.Store(i) + ".fsyncs")
		counts[i] = bytes.Count(trace, []byte("sync(")) + bytes.Count(trace, []byte("sync_file_range("))
	}
	return counts
}
