// Command mailparse measures pkg/mailparse beside net/mail and mime, the parsers of Go's library, on the same mails in
// the same run: megabytes of mail per second of CPU on one core, garbage collection included.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
)

const usage = `
mailparse reads mails of several shapes with pkg/mailparse and with net/mail, mime/multipart and mime, in turn:
  summary  what a mailbox list shows: sender, subject, date, charset, whether there is an attachment
  all      every text as UTF-8 and every file decoded
The results are compared before anything is measured. Figures are MB of raw mail per second of CPU on one core.`

func main() {
	fs := flag.NewFlagSet("mailparse", flag.ExitOnError)
	rounds := fs.Int("rounds", 3, "rounds, each of every measurement in turn")
	each := fs.Duration("each", 300*time.Millisecond, "CPU time of one measurement")
	bench.Usage(fs, usage)
	_ = fs.Parse(os.Args[1:]) // exits by itself
	if err := run(*rounds, *each); err != nil {
		fmt.Fprintln(os.Stderr, "mailparse:", err)
		os.Exit(1)
	}
}

func run(rounds int, each time.Duration) error {
	runtime.GOMAXPROCS(1)
	var table bench.Table
	table.Row("mail", "task", "mailparse MB/s", "net/mail + mime MB/s", "ratio")
	for _, sample := range mails() {
		for _, task := range tasks() {
			ours, err := task.ours(sample.raw)
			if err != nil {
				return fmt.Errorf("%s of %s: %w", task.name, sample.name, err)
			}
			theirs, err := task.theirs(sample.raw)
			if err != nil {
				return fmt.Errorf("%s of %s by net/mail: %w", task.name, sample.name, err)
			}
			if ours != theirs {
				return fmt.Errorf("%s of %s differs: mailparse %+v, net/mail %+v", task.name, sample.name, ours, theirs)
			}
			bench.Progress("%s of %s", task.name, sample.name)
			var a, b []float64
			for range rounds {
				a = append(a, speed(task.ours, sample.raw, each))
				b = append(b, speed(task.theirs, sample.raw, each))
			}
			same := func(v float64) float64 { return v }
			table.Row(sample.name, task.name, bench.Over(a).Text(0), bench.Over(b).Text(0), bench.Ratio(a, same, b, same).Text(1))
		}
	}
	table.Write(os.Stdout)
	return nil
}

// speed is MB per second of CPU.
func speed(read func([]byte) (result, error), raw []byte, each time.Duration) float64 {
	runtime.GC()
	n, start := 0, cpu()
	for cpu()-start < each {
		for range 1 + (64<<10)/len(raw) {
			_, _ = read(raw) // was compared before
			n++
		}
	}
	return float64(n*len(raw)) / 1e6 / (cpu() - start).Seconds()
}

// cpu is the CPU time of this process so far.
func cpu() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage) // fails for a wrong constant only
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
