package main

import (
	"context"
	"encoding/json"
	"errors"
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

// patience is how long a service may take to stop.
const patience = 30 * time.Second

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

// front is the time of what accepts mail: ingress and log.
func front(f *fleet.Fleet) (time.Duration, error) {
	ingress, err1 := f.Ingresses[0].CPU()
	log, err2 := f.NATS.CPU()
	return ingress + log, errors.Join(err1, err2)
}

// measureSluice sends twice: once while nobody reads the log, which is what accepting costs, and once with everything
// running. Then it waits until everything is stored, and shares the CPU out over the mails; the log also works for
// the storer and the cachewarmer, so that its time is more.
func measureSluice(ctx context.Context, c config, f *fleet.Fleet, size int) (s sample, err error) {
	n := time.Duration(c.mails)
	if err := errors.Join(f.Storer.Stop(patience), f.Warmer.Stop(patience)); err != nil {
		return s, err
	}
	idle, err := front(f)
	if err != nil {
		return s, err
	}
	took, err := source(ctx, c, f.Ingresses[0].Addrs["smtp"], size)
	if err != nil {
		return s, err
	}
	busy, err := front(f)
	if err != nil {
		return s, err
	}
	s.accept, s.accepting = float64(c.mails)/took.Seconds(), (busy-idle)/n
	if err := errors.Join(f.Storer.Start(), f.Warmer.Start(), settled(ctx, f)); err != nil {
		return s, err
	}
	before, err := used(f)
	if err != nil {
		return s, err
	}
	start := time.Now()
	if _, err = source(ctx, c, f.Ingresses[0].Addrs["smtp"], size); err != nil {
		return s, err
	}
	if err := settled(ctx, f); err != nil {
		return s, err
	}
	s.store = float64(c.mails) / time.Since(start).Seconds()
	after, err := used(f)
	s.ingress, s.log = (after.ingress-before.ingress)/n, (after.log-before.log)/n
	s.storer, s.others = (after.storer-before.storer)/n, (after.others-before.others)/n
	return s, err
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
