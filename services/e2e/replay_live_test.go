package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"testing"
	"time"

	loadgen "github.com/sluice-mail/sluice/services/internal/load"
)

// A replay at half of its free rate leaves live intake its p99 within a factor of 2. A
// measurement: it is run by hand, on a machine with nothing else to do.
func TestReplayLeavesLiveIntakeAlone(t *testing.T) {
	if os.Getenv("SLUICE_E2E_MAILS") == "" {
		t.Skip("skipped: a measurement for a quiet machine; set SLUICE_E2E_MAILS=100000 to run it")
	}
	if busy := loadAverage(t); busy > float64(runtime.NumCPU())/2 {
		t.Skipf("skipped: the load average is %.1f; what is measured now means nothing", busy)
	}
	n := replayMails(t)
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute+time.Duration(n/50)*time.Second)
	defer cancel()
	f := newFleet(t, 1)
	if err := f.Start(ctx); err != nil {
		t.Fatal(err)
	}
	_, wait := load(t, ctx, f, "-count", strconv.Itoa(n), "-conns", "64", "-sizes", "4KB")
	wait()
	r := &replayed{Fleet: f, mails: n}
	r.drained(t, ctx)
	free := r.replay(t, ctx, r.database(t, "free"))
	match := regexp.MustCompile(`, (\d+)/s`).FindStringSubmatch(free.text)
	if match == nil {
		t.Fatalf("no rate in %q", free.text)
	}
	rate, _ := strconv.Atoi(match[1])

	intake := func(first int) (report loadgen.Report) {
		t.Helper()
		out, err := f.Ctl(ctx, "load", "--json", "-to", f.Ingresses[0].Addrs["smtp"], "-conns", "16", "-rate", "200", "-duration", "20s",
			"-sizes", "4KB", "-first", strconv.Itoa(first))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(out), &report); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		return report
	}
	alone := intake(10_000_000)
	settled(t, ctx, f.Env())
	beside := r.NewCommand("replay-beside", r.env(r.database(t, "beside")), "storer", "replay", "--rate", strconv.Itoa(max(rate/2, 1)))
	if err := beside.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = beside.Kill() })
	within(t, 30*time.Second, "the replay has begun", func() bool { return stored(f.MariaDB.DSN("beside")) > 0 })
	both := intake(20_000_000)
	if !beside.Running() {
		t.Fatal("the replay ended before the measurement did; give it more mails")
	}
	t.Logf("replay alone: %s", free.text)
	t.Logf("live intake alone: p50 %s p99 %s; beside a replay of %d/s: p50 %s p99 %s (%.2f times)",
		alone.P50, alone.P99, rate/2, both.P50, both.P99, float64(both.P99)/float64(alone.P99))
	if both.P99 > 2*alone.P99 {
		t.Errorf("live intake's p99 was %s, beside a replay it is %s", alone.P99, both.P99)
	}
}

func loadAverage(t *testing.T) (one float64) {
	t.Helper()
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Skip("skipped: cannot tell how busy this machine is:", err)
	}
	if _, err := fmt.Sscan(string(raw), &one); err != nil {
		t.Fatal(err)
	}
	return one
}
