package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

func measureSink(ctx context.Context, c config, sink *fleet.Process, size int) (sample, error) {
	before, err := sink.CPU()
	if err != nil {
		return sample{}, err
	}
	took, err := source(ctx, c, sink.Addrs["smtp"], size)
	if err != nil {
		return sample{}, err
	}
	after, err := sink.CPU()
	return sample{accept: float64(c.mails) / took.Seconds(), ingress: (after - before) / time.Duration(c.mails)}, err
}

// cpus are the times of the pipeline's processes.
type cpus struct{ ingress, log, storer, others time.Duration }

func used(f *fleet.Fleet) (u cpus, err error) {
	for _, p := range []struct {
		to  *time.Duration
		pid int
	}{
		{&u.ingress, f.Ingresses[0].PID()}, {&u.log, f.NATS.PID()}, {&u.storer, f.Storer.PID()},
		{&u.others, f.Warmer.PID()}, {&u.others, f.Memcached.PID()}, {&u.others, f.MariaDBPID()},
	} {
		cpu, err := fleet.CPU(p.pid)
		if err != nil {
			return u, err
		}
		*p.to += cpu
	}
	return u, nil
}

// measureSluice sends, waits until everything is stored, and shares the CPU out over the mails. Ingress and log are
// read when the last 250 has come, but the log also works for the storer: so its whole time counts.
func measureSluice(ctx context.Context, c config, f *fleet.Fleet, size int) (sample, error) {
	before, err := used(f)
	if err != nil {
		return sample{}, err
	}
	start := time.Now()
	took, err := source(ctx, c, f.Ingresses[0].Addrs["smtp"], size)
	if err != nil {
		return sample{}, err
	}
	if err := settled(ctx, f); err != nil {
		return sample{}, err
	}
	stored := time.Since(start)
	after, err := used(f)
	n := time.Duration(c.mails)
	return sample{
		accept: float64(c.mails) / took.Seconds(), store: float64(c.mails) / stored.Seconds(),
		ingress: (after.ingress - before.ingress) / n, log: (after.log - before.log) / n,
		storer: (after.storer - before.storer) / n, others: (after.others - before.others) / n,
	}, err
}

// settled waits until the storer and the cachewarmer have nothing left.
func settled(ctx context.Context, f *fleet.Fleet) error {
	for {
		out, err := f.Ctl(ctx, "streams", "info", "--json")
		if err != nil {
			return err
		}
		var streams []struct{ Consumers []struct{ Lag uint64 } }
		if err := json.Unmarshal([]byte(out), &streams); err != nil {
			return fmt.Errorf("reading %q: %w", out, err)
		}
		var lag uint64
		for _, s := range streams {
			for _, c := range s.Consumers {
				lag += c.Lag
			}
		}
		if lag == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}
