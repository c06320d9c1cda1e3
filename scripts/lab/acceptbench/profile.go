package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

// profiles takes CPU profiles in one more round, which does not count: profiling costs a little itself. How long it
// will take is known from the rounds before; time at the end in which nothing happens adds nothing to a CPU profile.
func (m *measurer) profiles(ctx context.Context, l load, rounds []round) error {
	if err := m.stopReaders(); err != nil {
		return err
	}
	accept := bench.Of(rounds, func(r round) float64 { return r.accept.rate }).Median
	store := bench.Of(rounds, func(r round) float64 { return r.store.rate }).Median
	front := append([]*fleet.Process{m.fleet.NATS}, m.fleet.Ingresses...)
	_, err := m.profiled(ctx, l, "accepting", accept, front, func() error { return nil })
	if err != nil {
		return err
	}
	if err := m.startReaders(ctx); err != nil {
		return err
	}
	files, err := m.profiled(ctx, l, "storing", store, append(front, m.fleet.Storer, m.fleet.Warmer), func() error { return m.settled(ctx) })
	if err == nil {
		bench.Progress("profiles are in %s; to read one: go tool pprof -top %s", m.profile, files[0])
	}
	return err
}

// profiled sends once while all of the processes are profiled.
func (m *measurer) profiled(ctx context.Context, l load, what string, rate float64, processes []*fleet.Process, wait func() error) (files []string, err error) {
	seconds := max(1, int(math.Ceil(float64(m.mails)/rate)))
	bench.Progress("%s: profiles while %s", l, what)
	ended := make(chan error, len(processes))
	for _, p := range processes {
		file := filepath.Join(m.profile, fmt.Sprintf("%d-%s-%s-%s.pprof", l.size, l.mode, what, strings.ToLower(p.Name)))
		files = append(files, file)
		go func() { ended <- profile(ctx, p, seconds, file) }()
	}
	_, err = m.send(ctx, l, len(m.fleet.Ingresses), addrs(m.fleet.Ingresses)...)
	if err == nil {
		err = wait()
	}
	for range processes {
		err = errors.Join(err, <-ended)
	}
	return files, err
}

func profile(ctx context.Context, p *fleet.Process, seconds int, file string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds)*time.Second+time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", p.Addrs["debug"], seconds), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("profiling %s: %w", p.Name, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("profiling %s: %s", p.Name, resp.Status)
	}
	to, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, resp.Body)
	return errors.Join(err, to.Close())
}
