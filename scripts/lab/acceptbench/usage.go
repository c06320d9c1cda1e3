package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

// The processes of the pipeline, in the order of the tables.
const (
	ingress     = "ingress"
	natsServer  = "nats"
	storer      = "storer"
	mariaDB     = "MariaDB"
	cachewarmer = "cachewarmer"
	memcached   = "memcached"
)

// front takes mail, everything also stores it.
func front() []string { return []string{ingress, natsServer} }

func everything() []string {
	return []string{ingress, natsServer, storer, mariaDB, cachewarmer, memcached}
}

// pids are the processes that run; there may be several ingresses.
func pids(f *fleet.Fleet) map[string][]int {
	running := map[string][]int{mariaDB: {f.MariaDB.PID()}}
	add := func(name string, p *fleet.Process) {
		if p.Running() {
			running[name] = append(running[name], p.PID())
		}
	}
	for _, p := range f.Ingresses {
		add(ingress, p)
	}
	add(natsServer, f.NATS)
	add(storer, f.Storer)
	add(cachewarmer, f.Warmer)
	add(memcached, f.Memcached)
	return running
}

// used is the processor time of each so far.
func used(f *fleet.Fleet) (map[string]time.Duration, error) {
	sums := make(map[string]time.Duration)
	for name, all := range pids(f) {
		for _, pid := range all {
			cpu, err := fleet.CPU(pid)
			if err != nil {
				return nil, fmt.Errorf("processor time of %s: %w", name, err)
			}
			sums[name] += cpu
		}
	}
	return sums, nil
}

// peaks are the most memory that each has had, in MiB.
func peaks(f *fleet.Fleet) map[string]float64 {
	sums := make(map[string]float64)
	for name, all := range pids(f) {
		for _, pid := range all {
			sums[name] += peak(pid)
		}
	}
	return sums
}

func peak(pid int) float64 {
	status, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	_, line, _ := strings.Cut(string(status), "VmHWM:")
	var kib float64
	_, _ = fmt.Sscan(line, &kib)
	return kib / 1024
}

// sample is one measurement.
type sample struct {
	messages uint64             // of the log, that carry the mails; where that is counted
	rate     float64            // mails per second
	cpu      map[string]float64 // microseconds per mail, of each process
	peak     map[string]float64 // MiB
}

func newSample(mails int, took time.Duration, before, after map[string]time.Duration) sample {
	s := sample{rate: float64(mails) / took.Seconds(), cpu: make(map[string]float64)}
	for name := range after {
		s.cpu[name] = float64((after[name] - before[name]).Nanoseconds()) / 1e3 / float64(mails)
	}
	return s
}

// of sums up some of the processes.
func (s sample) of(names ...string) (sum float64) {
	for _, name := range names {
		sum += s.cpu[name]
	}
	return sum
}
