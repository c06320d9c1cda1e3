package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
	"github.com/sluice-mail/sluice/scripts/lab/logbench/server"
)

// strace writes a line for each fsync, with the time it took, into a file beside the store. It slows the server down a
// little, so of such a run nothing is used but the number of fsyncs and the share of the time that was spent in them.
var strace = []string{"strace", "--seccomp-bpf", "-f", "-q", "-T", "-e", "signal=none", "-e", "trace=fsync,fdatasync,sync_file_range", "-o", "{store}.fsyncs"}

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

// traced is what strace has seen of one server.
type traced struct {
	fsyncs int
	time   time.Duration // of all of them; two at once count twice
}

// took is the time at the end of a line: "fsync(7) = 0 <0.000412>".
var took = regexp.MustCompile(`(?m)<(\d+\.\d+)>$`)

// readTraces reads what strace has written so far, by server.
func readTraces(c *server.Cluster, running bool) []traced {
	traces := make([]traced, c.Size())
	if !running {
		return traces
	}
	for i := range traces {
		// A call that another thread interrupts has two lines, "fsync(7 <unfinished ...>" and "<... fsync resumed>".
		trace, _ := os.ReadFile(c.Store(i) + ".fsyncs")
		traces[i].fsyncs = bytes.Count(trace, []byte("sync(")) + bytes.Count(trace, []byte("sync_file_range("))
		for _, match := range took.FindAllSubmatch(trace, -1) {
			seconds, _ := strconv.ParseFloat(string(match[1]), 64)
			traces[i].time += time.Duration(seconds * float64(time.Second))
		}
	}
	return traces
}
