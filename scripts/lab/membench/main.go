// Command membench measures the memory of an allinone while it takes large and small mail, when nothing has happened for a
// while, and after a restart with two audits, next to the same program with Go's default garbage collection and with a hard
// limit, in the same run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

const usage = `scripts/bench memory [flags]

Resident memory of an allinone, or of nats-server as a process of its own (-nats): at its peak while mail comes in as fast as it is taken, idle some time after the last mail is
stored, and at its peak after a restart with the same data and two full audits. Rows: as it is; with GOGC=100, which is what
Go does by default; with GOMEMLIMIT=512MiB, a limit. nats-server has GOMEMLIMIT=1GiB in compose, and next to it no limit.

    scripts/bench memory -large 800 -small 100000 -idle 10m
    scripts/bench memory -nats -large 800 -small 100000 -idle 10m`

// row is one way to run it.
type row struct {
	name string
	env  []string
}

type settings struct {
	large, small int
	idle         time.Duration
	nats         bool
}

func main() {
	var s settings
	fs := flag.NewFlagSet("membench", flag.ExitOnError)
	fs.IntVar(&s.large, "large", 120, "mails of 10 MB")
	fs.IntVar(&s.small, "small", 20_000, "mails of 20 KB")
	fs.DurationVar(&s.idle, "idle", 30*time.Second, "how long to wait after the last mail is stored")
	fs.BoolVar(&s.nats, "nats", false, "measure nats-server as a process of its own, not an allinone")
	bench.Usage(fs, usage)
	_ = fs.Parse(os.Args[1:]) // ExitOnError
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := s.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "membench:", err)
		os.Exit(1)
	}
}

func (s settings) run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "membench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bench.Progress("building the services")
	binaries, err := fleet.Build(dir)
	if err != nil {
		return err
	}
	fmt.Printf("%d mails of 10 MB, then %d of 20 KB, then %v of nothing, then a restart and two audits; MiB\n", s.large, s.small, s.idle)
	var t bench.Table
	t.Row("", "large s", "small s", "CPU s", "peak", "idle", "restarted, audited")
	rows, prepare := []row{{"as it is", nil}, {"GOGC=100", []string{"GOGC=100"}}, {"GOMEMLIMIT=512MiB", []string{"GOMEMLIMIT=512MiB"}}}, newAllinone
	if s.nats {
		rows, prepare = []row{{"GOMEMLIMIT=1GiB", []string{"GOMEMLIMIT=1GiB"}}, {"no limit", nil}}, newFleet
	}
	for _, r := range rows {
		data := filepath.Join(dir, "data")
		if err := os.MkdirAll(data, 0o700); err != nil {
			return err
		}
		subject, err := prepare(binaries, data, r.env)
		if err == nil {
			m := &measurement{s, subject}
			var cells []string
			cells, err = m.run(ctx, r)
			t.Row(append([]string{r.name}, cells...)...)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		if err := os.RemoveAll(data); err != nil {
			return err
		}
	}
	t.Write(os.Stdout)
	return nil
}

// measurement is one row.
type measurement struct {
	settings
	*subject
}

func (m *measurement) run(ctx context.Context, r row) ([]string, error) {
	defer m.close()
	if err := m.start(ctx); err != nil {
		return nil, err
	}
	large, err := m.load(ctx, m.large, "10MB")
	if err != nil {
		return nil, err
	}
	small, err := m.load(ctx, m.small, "20KB")
	if err != nil {
		return nil, err
	}
	cpu, err := m.process.CPU()
	if err != nil {
		return nil, err
	}
	peak := m.memory("VmHWM")
	bench.Progress("%s: large mail %.0f s, small mail %.0f s, peak %d MiB; waiting %v", r.name, large.Seconds(), small.Seconds(), peak, m.idle)
	if err := pause(ctx, m.idle); err != nil {
		return nil, err
	}
	idle := m.memory("VmRSS")
	if err := m.process.Stop(time.Minute); err != nil {
		return nil, err
	}
	if err := m.again(ctx); err != nil {
		return nil, err
	}
	for range 2 {
		if _, err := m.ctl(ctx, "audit"); err != nil {
			return nil, err
		}
	}
	again := m.memory("VmHWM")
	cells := []string{seconds(large), seconds(small), seconds(cpu)}
	for _, n := range []int{peak, idle, again} {
		cells = append(cells, strconv.Itoa(n))
	}
	return cells, nil
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.0f", d.Seconds()) }

// load sends mail and waits until it is stored; it returns how long the sending took.
func (m *measurement) load(ctx context.Context, count int, size string) (time.Duration, error) {
	if count == 0 {
		return 0, nil
	}
	began := time.Now()
	if _, err := m.ctl(ctx, "load", "-to", m.smtp, "-count", strconv.Itoa(count), "-sizes", size, "-conns", "8", "-resend", "5"); err != nil {
		return 0, err
	}
	took := time.Since(began)
	for range 1200 {
		out, err := m.ctl(ctx, "status", "--json")
		if err != nil {
			return 0, err
		}
		if unstored.MatchString(out) {
			return took, nil
		}
		if err := pause(ctx, 500*time.Millisecond); err != nil {
			return 0, err
		}
	}
	return 0, errors.New("the mail is not stored after ten minutes")
}

var unstored = regexp.MustCompile(`"unstored_messages": ?0\b`)

// memory is a line of the process's status, in MiB.
func (m *measurement) memory(line string) int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.process.PID())) // gone: 0
	_, rest, _ := strings.Cut(string(status), line+":")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.Atoi(fields[0])
	return kib >> 10
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
