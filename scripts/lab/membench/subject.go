package main

import (
	"context"
	"time"

	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

// subject is a running Sluice, one process of which is measured.
type subject struct {
	process *fleet.Process
	smtp    string // where mail goes
	start   func(ctx context.Context) error
	again   func(ctx context.Context) error // after the process has been stopped
	ctl     func(ctx context.Context, args ...string) (string, error)
	close   func()
}

func newAllinone(binaries fleet.Binaries, dir string, env []string) (*subject, error) {
	p := fleet.NewAllinone(binaries, dir, append([]string{"STREAM_MAX_BYTES=20GiB", "LOG_LEVEL=warn", "MAILBOX_ADDR=off"}, env...)...)
	start := func(ctx context.Context) error {
		if err := p.Start(); err != nil {
			return err
		}
		return p.Ready(ctx)
	}
	return &subject{
		process: p, smtp: p.Addrs["smtp"], start: start, again: start,
		ctl: func(ctx context.Context, args ...string) (string, error) {
			return (&fleet.Fleet{Binaries: binaries}).Command(ctx, []string{"SLUICE_DATA=" + dir}, "sluicectl", args...)
		},
		close: func() {
			if p.Stop(time.Minute) != nil {
				_ = p.Kill() // its data is removed anyway
			}
		},
	}, nil
}

// newFleet runs every service as a process of its own, next to nats-server, which has env.
func newFleet(binaries fleet.Binaries, dir string, env []string) (*subject, error) {
	f, err := fleet.New(dir, binaries, 1, "STREAM_MAX_BYTES=20GiB", "LOG_LEVEL=warn")
	if err != nil {
		return nil, err
	}
	f.NATS.Setenv(env...)
	return &subject{
		process: f.NATS, smtp: f.Ingresses[0].Addrs["smtp"], start: f.Start, ctl: f.Ctl,
		again: func(ctx context.Context) error {
			if err := f.NATS.Start(); err != nil {
				return err
			}
			return f.Ready(ctx)
		},
		close: func() { _ = f.Close() }, // its data is removed anyway
	}, nil
}
