package load

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestKilledGeneratorLosesLittle kills a generator in full flow. Each mail that got 250 must be in its
// record, but for the last of each connection, whose answer it may just have read.
func TestKilledGeneratorLosesLittle(t *testing.T) {
	const kill, conns = 2000, 4
	ctx, killIt := context.WithCancel(t.Context())
	s := &scripted{pipelining: true}
	s.answer = func(verb, _ string, mails int) string {
		if verb == "." && mails >= kill { // several connections count at once, so one number may be passed unseen
			killIt()
		}
		return "-"
	}
	s.start(t)
	path := filepath.Join(t.TempDir(), "acks.jsonl")
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestGeneratorProcess$")
	cmd.Env = append(os.Environ(), "LOAD_TEST_TO="+s.addr, "LOAD_TEST_RECORD="+path)
	out, err := cmd.CombinedOutput()
	if err == nil || err.Error() != "signal: killed" {
		t.Fatalf("the generator was not killed: %v\n%s", err, out)
	}
	recorded := map[string]int{}
	for _, a := range readRecord(t, path) {
		recorded[a.SHA256]++
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	missing := 0
	for sum, n := range s.stored {
		if n != 1 || recorded[sum] > 1 {
			t.Fatalf("a mail was stored %d times and recorded %d times", n, recorded[sum])
		}
		missing += 1 - recorded[sum]
	}
	if len(s.stored) < kill || missing > conns {
		t.Errorf("%d of %d acknowledged mails are not in the record", missing, len(s.stored))
	}
	t.Logf("%d of %d acknowledged mails are not in the record", missing, len(s.stored))
}

// TestGeneratorProcess is the process that gets killed; on its own it does nothing.
func TestGeneratorProcess(t *testing.T) {
	to := os.Getenv("LOAD_TEST_TO")
	if to == "" {
		t.Skip("skipped: is run by TestKilledGeneratorLosesLittle in a process of its own")
	}
	cfg := Config{To: to, Conns: 4, Count: 100000, Duration: time.Minute, Record: os.Getenv("LOAD_TEST_RECORD")}
	report, err := Run(context.Background(), cfg, io.Discard)
	t.Fatal(report, err) // it should have been killed
}

// TestProgressIsForTerminals: a log file gets no rewritten lines.
func TestProgressIsForTerminals(t *testing.T) {
	s := (&scripted{pipelining: true}).start(t)
	var out bytes.Buffer
	if _, err := Run(t.Context(), Config{To: s.addr, Count: 10}, &out); err != nil || out.Len() > 0 {
		t.Errorf("%q, %v", out.String(), err)
	}
}
