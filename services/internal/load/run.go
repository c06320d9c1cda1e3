package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-mail/sluice/pkg/obs"
)

// grace is how long mails under way may take when the run is cancelled.
const grace = 2 * time.Second

// run is one run of the generator.
type run struct {
	cfg    Config
	mails  *Generator
	tally  tally
	record *recorder // nil when nothing is recorded
	start  time.Time
	next   atomic.Uint64 // mails handed out
}

// Run sends the mails, shows progress on out when that is a terminal, and returns when the run's bound is
// reached, ctx is cancelled (mails under way get two seconds), or the server stays away for Config.Outage.
// The report is valid also beside an error.
func Run(ctx context.Context, cfg Config, out io.Writer) (Report, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return Report{}, fmt.Errorf("load: %w", err)
	}
	r := &run{cfg: cfg, mails: NewGenerator(cfg), start: time.Now()}
	r.tally.report.Codes, r.tally.report.Errors = map[int]uint64{}, map[string]uint64{}
	if cfg.Record != "" {
		record, err := openRecord(cfg.Record)
		if err != nil {
			return Report{}, fmt.Errorf("load: %w", err)
		}
		r.record = record
	}
	err := r.work(ctx, out)
	if r.record != nil {
		err = errors.Join(err, r.record.close())
	}
	if err != nil {
		err = fmt.Errorf("load: %w", err)
	}
	return r.tally.sum(time.Since(r.start)), err
}

// work runs one worker per connection until all are done; the first that gives up stops the others.
func (r *run) work(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	bound := ctx
	if r.cfg.Duration > 0 {
		var stop context.CancelFunc
		bound, stop = context.WithTimeout(ctx, r.cfg.Duration)
		defer stop()
	}
	failed := make(chan error, r.cfg.Conns)
	var workers sync.WaitGroup
	for range r.cfg.Conns {
		workers.Go(func() {
			w := &worker{run: r}
			if err := w.loop(ctx, bound); err != nil {
				failed <- err
				cancel()
			}
		})
	}
	progress, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		r.showProgress(out, progress)
	}()
	workers.Wait()
	close(progress)
	<-done
	select {
	case err := <-failed:
		return err
	default:
		return nil // also when the caller cancelled: that is a way to end a run
	}
}

// take hands out the next mail's number when it is time for it.
func (r *run) take(ctx context.Context) (index uint64, ok bool) {
	if ctx.Err() != nil {
		return 0, false
	}
	n := r.next.Add(1) - 1
	if r.cfg.Count > 0 && n >= r.cfg.Count {
		return 0, false
	}
	if r.cfg.Rate > 0 {
		due := r.start.Add(time.Duration(float64(n) / r.cfg.Rate * float64(time.Second)))
		if !sleep(ctx, time.Until(due)) {
			return 0, false
		}
	}
	return r.cfg.First + n, true
}

// sleep waits and says whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// showProgress rewrites one line a second.
func (r *run) showProgress(out io.Writer, done <-chan struct{}) {
	if !obs.IsTerminal(out) {
		<-done
		return
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-done:
			fmt.Fprint(out, "\r\x1b[K")
			return
		case <-tick.C:
			s := r.tally.sum(time.Since(r.start))
			fmt.Fprintf(out, "\r\x1b[K%d acked, %.0f/s, refused %d, unconfirmed %d, cut %d, p50 %v p99 %v",
				s.Acked, s.Rate(), s.Refused, s.Unconfirmed, s.Cut, round(s.P50), round(s.P99))
		}
	}
}
