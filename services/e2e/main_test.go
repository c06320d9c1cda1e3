package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

// binaries are built once for all tests.
var binaries fleet.Binaries

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sluice-e2e-")
	if err == nil {
		defer os.RemoveAll(dir)
		binaries, err = fleet.Build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	return m.Run()
}

// need skips a test whose program is not installed.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			if _, err := os.Stat(filepath.Join("/usr/sbin", program)); err != nil {
				t.Skipf("skipped: needs %s; scripts/test installs it", program)
			}
		}
	}
}

// command runs a client to its end.
func command(t *testing.T, ctx context.Context, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin")
	if path, err := exec.LookPath(name); err != nil {
		cmd.Path, cmd.Err = filepath.Join("/usr/sbin", name), nil
	} else {
		cmd.Path = path
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// within polls until ok says that it is so.
func within(t *testing.T, patience time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		time.Sleep(20 * time.Millisecond) // between two looks; the deadline decides
	}
}

// auditReport is what `sluicectl audit --json` prints, as far as the tests look at it.
type auditReport struct {
	Mails, Stored, Pending, Dead, Missing, Wrong, Extra, Purged, Erased, Expired int64
	Acks                                                                         *struct {
		Recorded, Stored, Pending, Dead, Missing, Wrong, Duplicates, Unsure, Extra, Unexplained int64
	}
}

// audit runs `sluicectl audit` with the environment that finds log and database. It fails the test when a mail is
// unaccounted for.
func audit(t *testing.T, ctx context.Context, env []string, args ...string) auditReport {
	t.Helper()
	out, err := (&fleet.Fleet{Binaries: binaries}).Command(ctx, env, "sluicectl", append([]string{"audit", "--json"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	var r auditReport
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return r
}

// settled waits until the storer has nothing left to do.
func settled(t *testing.T, ctx context.Context, env []string) {
	t.Helper()
	var last string
	within(t, 60*time.Second, "the storer has settled everything", func() bool {
		out, err := (&fleet.Fleet{Binaries: binaries}).Command(ctx, env, "sluicectl", "status", "--json", "--interval=0s")
		if err != nil {
			last = err.Error()
			return false
		}
		var s struct {
			Unstored *uint64 `json:"unstored_messages"`
		}
		if err := json.Unmarshal([]byte(out), &s); err != nil || s.Unstored == nil {
			t.Fatalf("%v in %s", err, out)
		}
		last = out
		return *s.Unstored == 0
	})
	_ = last
}
