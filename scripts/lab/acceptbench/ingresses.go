package main

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
)

// compareIngresses measures what accepting costs with each number of ingresses, with the same senders on the same log.
// Those that are not sent to run as well. Nobody reads the log.
func (m *measurer) compareIngresses(ctx context.Context) error {
	if err := m.stopReaders(); err != nil {
		return err
	}
	fmt.Printf("%d mails per measurement, %d connections at once, %d rounds; nobody reads the log\n", m.mails, m.conns, m.rounds)
	for _, mode := range m.modes.List {
		for _, size := range m.sizes {
			l := load{mode, size}
			results, err := m.perNumber(ctx, l)
			if err != nil {
				return m.explained(ctx, l, err)
			}
			m.reportNumbers(l, results)
		}
	}
	return nil
}

// perNumber measures all numbers in every round, in turn. The senders are the same processes each time, as many as the
// highest number, so that nothing but their addresses differs.
func (m *measurer) perNumber(ctx context.Context, l load) (map[int][]sample, error) {
	results := make(map[int][]sample)
	for round := range m.rounds {
		for i := range m.ingresses {
			n := m.ingresses[(i+round)%len(m.ingresses)]
			if err := m.emptyLog(ctx); err != nil {
				return nil, err
			}
			s, err := m.accepting(ctx, l, slices.Max(m.ingresses), m.fleet.Ingresses[:n])
			if err != nil {
				return nil, err
			}
			if s.messages, err = m.messages(ctx); err != nil {
				return nil, err
			}
			bench.Progress("%s, round %d of %d: %.0f mails/s with -ingresses %d", l, round+1, m.rounds, s.rate, n)
			results[n] = append(results[n], s)
		}
	}
	return results, nil
}

// emptyLog discards what is in the log: nobody stores it here, and it would become full.
func (m *measurer) emptyLog(ctx context.Context) error {
	return m.withLog(ctx, func(s jetstream.Stream) error { return s.Purge(ctx) })
}

// messages is how many messages the mails in the log share.
func (m *measurer) messages(ctx context.Context) (n uint64, err error) {
	err = m.withLog(ctx, func(s jetstream.Stream) error {
		n = s.CachedInfo().State.Msgs
		return nil
	})
	return n, err
}

func (m *measurer) withLog(ctx context.Context, fn func(jetstream.Stream) error) error {
	nc, err := nats.Connect("nats://" + m.fleet.NATS.Addrs["client"])
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	s, err := js.Stream(ctx, stream.StreamName(0))
	if err != nil {
		return err
	}
	return fn(s)
}

func (m *measurer) reportNumbers(l load, results map[int][]sample) {
	first := m.ingresses[0]
	fmt.Printf("\n%s: processor time per mail in µs\n", l)
	var t bench.Table
	t.Row("ingresses", "mails/s", "ratio", "ingress", "nats", "ingress + nats", "ratio", "mails/message")
	rate := func(s sample) float64 { return s.rate }
	both := func(s sample) float64 { return s.of(front()...) }
	for _, n := range m.ingresses {
		got, base := results[n], results[first]
		rates, times := "1", "1"
		if n != first {
			rates, times = bench.Ratio(got, rate, base, rate).Text(2), bench.Ratio(got, both, base, both).Text(2)
		}
		of := func(name string) string { return bench.Of(got, func(s sample) float64 { return s.of(name) }).Text(0) }
		t.Row(fmt.Sprint(n), bench.Of(got, rate).Text(0), rates, of(ingress), of(natsServer), bench.Of(got, both).Text(0), times,
			bench.Of(got, func(s sample) float64 { return float64(m.mails) / max(1, float64(s.messages)) }).Text(1))
	}
	t.Write(os.Stdout)
}
