package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

// measurer has what is measured.
type measurer struct {
	config
	fleet *fleet.Fleet
	sink  *fleet.Process
}

// smtpSink is the reference's name among the processes.
const smtpSink = "smtp-sink"

// round is one of the reference and one of the system.
type round struct{ sink, accept, store sample }

// patience is how long a service may take to stop.
const patience = 30 * time.Second

// pipeline measures each kind of load and prints a table for it.
func (m *measurer) pipeline(ctx context.Context, dir string) (err error) {
	if m.sink, err = fleet.NewSink(dir); err != nil {
		return err
	}
	if err := m.sink.Start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.sink.Kill()) }()
	if err := listening(ctx, m.sink.Addrs["smtp"]); err != nil {
		return err
	}
	fmt.Printf("%d mails per measurement, %d connections at once, %d rounds; smtp-sink keeps nothing, Sluice syncs before each 250\n", m.mails, m.conns, m.rounds)
	for _, mode := range m.modes.List {
		for _, size := range m.sizes {
			l := load{mode, size}
			rounds, err := m.measure(ctx, l)
			if err != nil {
				return m.explained(ctx, l, err)
			}
			report(l, rounds)
			if m.profile != "" {
				if err := m.profiles(ctx, l, rounds); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// explained adds what the first ingress has logged last, unless the run was interrupted.
func (m *measurer) explained(ctx context.Context, l load, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	log := m.fleet.Ingresses[0].Log()
	return fmt.Errorf("%s: %w\nthe first ingress has logged:\n%s", l, err, log[max(0, len(log)-3000):])
}

func (m *measurer) measure(ctx context.Context, l load) (rounds []round, err error) {
	for i := range m.rounds {
		ctx, cancel := context.WithTimeoutCause(ctx, longest, fmt.Errorf("a round took more than %v", longest))
		defer cancel()
		var r round
		parts := []func() error{
			func() (err error) { r.sink, err = m.measureSink(ctx, l); return err },
			func() (err error) { r.accept, r.store, err = m.measureSluice(ctx, l); return err },
		}
		for j := range parts {
			if err := parts[(i+j)%len(parts)](); err != nil {
				return nil, err
			}
		}
		bench.Progress("%s, round %d of %d: smtp-sink %.0f mails/s, accepting alone %.0f, storing %.0f", l, i+1, m.rounds, r.sink.rate, r.accept.rate, r.store.rate)
		rounds = append(rounds, r)
	}
	return rounds, nil
}

// longest is how long a round may take; something hangs then.
const longest = 10 * time.Minute

func (m *measurer) measureSink(ctx context.Context, l load) (sample, error) {
	before, err := m.sink.CPU()
	if err != nil {
		return sample{}, err
	}
	took, err := m.send(ctx, l, 1, m.sink.Addrs["smtp"])
	if err != nil {
		return sample{}, err
	}
	after, err := m.sink.CPU()
	return newSample(m.mails, took, map[string]time.Duration{smtpSink: before}, map[string]time.Duration{smtpSink: after}), err
}

// measureSluice sends twice: once while nobody reads the log, which is what accepting costs, and once with everything
// running, until everything is stored. The log also works for the storer and the cachewarmer, so that its time is more.
func (m *measurer) measureSluice(ctx context.Context, l load) (accept, store sample, err error) {
	if err := m.stopReaders(); err != nil {
		return accept, store, err
	}
	if accept, err = m.accepting(ctx, l, 1, m.fleet.Ingresses); err != nil {
		return accept, store, err
	}
	if err := m.startReaders(ctx); err != nil {
		return accept, store, err
	}
	before, err := used(m.fleet)
	if err != nil {
		return accept, store, err
	}
	start := time.Now()
	if _, err := m.send(ctx, l, len(m.fleet.Ingresses), addrs(m.fleet.Ingresses)...); err != nil {
		return accept, store, err
	}
	if err := m.settled(ctx); err != nil {
		return accept, store, err
	}
	took := time.Since(start)
	after, err := used(m.fleet)
	store = newSample(m.mails, took, before, after)
	store.peak = peaks(m.fleet)
	return accept, store, err
}

// accepting sends to those ingresses, from at least that many smtp-sources.
func (m *measurer) accepting(ctx context.Context, l load, sources int, ingresses []*fleet.Process) (sample, error) {
	before, err := used(m.fleet)
	if err != nil {
		return sample{}, err
	}
	took, err := m.send(ctx, l, max(sources, len(ingresses)), addrs(ingresses)...)
	if err != nil {
		return sample{}, err
	}
	after, err := used(m.fleet)
	return newSample(m.mails, took, before, after), err
}

func addrs(ingresses []*fleet.Process) (all []string) {
	for _, p := range ingresses {
		all = append(all, p.Addrs["smtp"])
	}
	return all
}

func (m *measurer) stopReaders() error {
	return errors.Join(m.fleet.Storer.Stop(patience), m.fleet.Warmer.Stop(patience))
}

// startReaders returns when they have caught up.
func (m *measurer) startReaders(ctx context.Context) error {
	return errors.Join(m.fleet.Storer.Start(), m.fleet.Warmer.Start(), m.fleet.Ready(ctx), m.settled(ctx))
}

// settled waits until the storer and the cachewarmer have nothing left. It asks the server's monitoring page, which
// costs less of the machine that is measured than a program would.
func (m *measurer) settled(ctx context.Context) error {
	for {
		lag, err := m.lag(ctx)
		if err != nil || lag == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// lag is how much the log's consumers have not acknowledged.
func (m *measurer) lag(ctx context.Context) (lag uint64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.fleet.NATS.Addrs["monitor"]+"/jsz?consumers=true", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var page struct {
		Accounts []struct {
			Streams []struct {
				Consumers []struct {
					Pending uint64 `json:"num_pending"`
					Unacked uint64 `json:"num_ack_pending"`
				} `json:"consumer_detail"`
			} `json:"stream_detail"`
		} `json:"account_details"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		return 0, fmt.Errorf("reading the log's monitoring page: %w", err)
	}
	consumers := 0
	for _, account := range page.Accounts {
		for _, s := range account.Streams {
			for _, c := range s.Consumers {
				consumers++
				lag += c.Pending + c.Unacked
			}
		}
	}
	if consumers == 0 {
		return 0, errors.New("the log's monitoring page shows no consumers")
	}
	return lag, nil
}
