package replaycmd

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/sluice-mail/sluice/pkg/obs"
	"github.com/sluice-mail/sluice/pkg/stream/consume"
)

// Progress returns a function for consume.Replay to call: it draws a bar on a terminal, and elsewhere prints a plain line
// every ten seconds and at the end.
func Progress(out io.Writer) func(consume.ReplayProgress) {
	terminal := obs.IsTerminal(out)
	var (
		mu   sync.Mutex
		last time.Time
	)
	return func(p consume.ReplayProgress) {
		mu.Lock()
		defer mu.Unlock()
		end := p.Read >= p.Total
		if terminal {
			fmt.Fprintf(out, "\r%s\x1b[K", line(p, bar(p)))
			if end {
				fmt.Fprintln(out)
			}
			return
		}
		if !end && time.Since(last) < 10*time.Second {
			return
		}
		last = time.Now()
		fmt.Fprintln(out, line(p, ""))
	}
}

func line(p consume.ReplayProgress, bar string) string {
	percent := 100.0
	if p.Total > 0 {
		percent = 100 * float64(p.Read) / float64(p.Total)
	}
	s := fmt.Sprintf("replay: %s%d of %d messages (%.0f%%), %.0f/s", bar, p.Read, p.Total, percent, p.Rate)
	if p.Left > 0 {
		s += ", " + p.Left.Round(time.Second).String() + " left"
	}
	return s
}

func bar(p consume.ReplayProgress) string {
	const width = 30
	full := width
	if p.Total > 0 {
		full = int(min(p.Read, p.Total) * width / p.Total)
	}
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "] "
}
