package main

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/env"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/scripts/lab/logbench/server"
)

// measurer measures one row after the other.
type measurer struct {
	settings
	programs programs
	version  string // of nats-server
	stores   int    // so far
}

// point is what a table is about.
type point struct{ size, senders int }

// result is one measurement. Times are per mail.
type result struct {
	rate          float64
	log, sender   time.Duration
	p50, p99, max time.Duration
	packs, pack   float64 // how many, and mails in each; 0 where nobody packs
	mails         float64
	fsyncs        float64 // of the busiest server; only when counted
	syncing       float64 // share of the time that it spent in them
}

// measure runs one row against servers of its own.
func (m *measurer) measure(ctx context.Context, r row, p point, length, warmup time.Duration, wrap ...string) (result, error) {
	m.stores++
	store := filepath.Join(m.dir, fmt.Sprintf("store-%d", m.stores))
	c, err := server.StartCluster(ctx, server.Options{Binary: m.server, Store: store, SyncAlways: r.synced, Wrap: wrap}, m.servers)
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(store)
	defer c.Stop()
	m.version = c.Server(0).Version()
	url, err := m.ensure(ctx, c, r)
	if err != nil {
		return result{}, err
	}
	program := m.programs.now
	if r.before {
		program = m.programs.before
	}
	all, err := startChildren(m.settings, program, url, r, p)
	defer all.end()
	if err != nil {
		return result{}, err
	}
	return window(ctx, c, all, length, warmup, len(wrap) > 0)
}

// ensure makes the streams and returns the address of the server that leads the first. In a cluster all senders
// connect there: whether they have to be sent on would else be the luck of each measurement.
func (m *measurer) ensure(ctx context.Context, c *server.Cluster, r row) (url string, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := c.Healthy(ctx); err != nil {
		return "", err
	}
	quiet := slog.New(slog.DiscardHandler)
	nc, err := stream.Connect(stream.ConnConfig{URL: c.URL()}, stream.ConnOptions{Name: "logbench", Logger: quiet})
	if err != nil {
		return "", err
	}
	defer nc.Close()
	shape := stream.Shape{Shards: m.shards, Replicas: m.servers, MaxBytes: 16 << 30 / env.Bytes(m.shards), AllowUnsynced: !r.synced}
	// A new cluster refuses until it has found a leader and all its members.
	for {
		if err = stream.Ensure(ctx, nc, shape, m.durability(r), quiet); err == nil {
			break
		}
		if pause(ctx, 100*time.Millisecond) != nil {
			return "", fmt.Errorf("making the streams: %w", err)
		}
	}
	if c.Size() == 1 {
		return c.Server(0).URL, nil
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return "", err
	}
	s, err := js.Stream(ctx, stream.StreamName(0))
	if err != nil {
		return "", err
	}
	leader := c.Index(s.CachedInfo().Cluster.Leader)
	if leader < 0 {
		return "", fmt.Errorf("stream %s has no leader", stream.StreamName(0))
	}
	return c.Server(leader).URL, c.Healthy(ctx)
}

func (m *measurer) durability(r row) stream.Durability {
	switch {
	case m.servers > 1 && r.synced:
		return stream.SyncedQuorum
	case m.servers > 1:
		return stream.UnsyncedQuorum
	case r.synced:
		return stream.SyncedSingle
	}
	return stream.UnsyncedSingle
}

// window lets the load run and looks at its beginning and its end.
func window(ctx context.Context, c *server.Cluster, all children, length, warmup time.Duration, strace bool) (r result, err error) {
	if err := pause(ctx, warmup); err != nil {
		return r, err
	}
	before, began, log, sender := readTraces(c, strace), time.Now(), c.CPU(), all.cpu()
	if err := all.tell("count"); err != nil {
		return r, err
	}
	if err := pause(ctx, length); err != nil {
		return r, err
	}
	log, sender = c.CPU()-log, all.cpu()-sender
	took := time.Since(began)
	for i, now := range readTraces(c, strace) {
		r.fsyncs = max(r.fsyncs, float64(now.fsyncs-before[i].fsyncs))
		r.syncing = max(r.syncing, float64(now.time-before[i].time)/float64(took))
	}
	if err := all.tell("stop"); err != nil {
		return r, err
	}
	sum, err := all.reports()
	if err != nil {
		return r, err
	}
	r.mails = float64(sum.Mails)
	r.rate = r.mails / sum.Seconds
	r.log, r.sender = log/time.Duration(sum.Mails), sender/time.Duration(sum.Mails)
	r.p50, r.p99, r.max = sum.wait(0.5), sum.wait(0.99), sum.wait(1)
	if r.packs = sum.Packs; r.packs > 0 {
		r.pack = sum.PackMails / sum.Packs
	}
	return r, nil
}

// wait is how long that part of the mails waited at most.
func (r report) wait(part float64) time.Duration {
	var buckets []int
	for i := range r.Waits {
		buckets = append(buckets, i)
	}
	slices.Sort(buckets)
	left := uint64(math.Ceil(part * float64(r.Mails)))
	for _, i := range buckets {
		if left <= r.Waits[i] {
			return time.Duration(math.Exp((float64(i)+0.5)/100) * float64(time.Microsecond))
		}
		left -= r.Waits[i]
	}
	return 0
}

// pause waits, unless the run is interrupted.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
