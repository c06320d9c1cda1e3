package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
)

// row is one way to publish.
type row struct {
	name   string
	way    string // of the sender
	synced bool
	before bool
}

// rows are those that were asked for.
func (s settings) rows() (wanted []row) {
	all := []row{
		{"packs, synced", "packs", true, false}, {"packs, unsynced", "packs", false, false},
		{"single, synced", "single", true, false}, {"single, unsynced", "single", false, false},
		{"async, synced", "async", true, false}, {"async, unsynced", "async", false, false},
	}
	if s.before != "" {
		all = append([]row{{"before, synced", "packs", true, true}}, all[:2]...)
	}
	for _, r := range all {
		if strings.HasPrefix(r.name, s.only) {
			wanted = append(wanted, r)
		}
	}
	return wanted
}

// suits says whether a row says anything: a window of one is the same as a single sender.
func (r row) suits(p point) bool { return p.senders > 1 || r.way != "async" }

func (m *measurer) title(p point) string {
	title := fmt.Sprintf("%d bytes, %d at once", p.size, p.senders)
	if m.processes > 1 {
		title = fmt.Sprintf("%d bytes, %d × %d at once", p.size, m.processes, p.senders)
	}
	return title
}

// table measures all rows for one size and number of senders.
func (m *measurer) table(ctx context.Context, p point) error {
	results := make(map[string][]result)
	rows := m.rows()
	for round := range m.rounds {
		for i := range rows {
			r := rows[(i+round)%len(rows)] // each is first, and last, now and then
			if !r.suits(p) {
				continue
			}
			res, err := m.measure(ctx, r, p, m.length, m.warmup)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", m.title(p), r.name, err)
			}
			bench.Progress("%s, round %d of %d: %-16s %8.0f mails/s", m.title(p), round+1, m.rounds, r.name, res.rate)
			results[r.name] = append(results[r.name], res)
		}
	}
	var fsyncs map[string]result
	if m.fsyncs {
		var err error
		if fsyncs, err = m.withFsyncs(ctx, p); err != nil {
			return err
		}
	}
	m.print(p, results, fsyncs)
	return nil
}

func (m *measurer) print(p point, results map[string][]result, fsyncs map[string]result) {
	servers := "1 server"
	if m.servers > 1 {
		servers = fmt.Sprintf("%d servers with a replica each", m.servers)
	}
	fmt.Printf("\n%s, %s (nats-server %s), %d × %v\n", m.title(p), servers, m.version, m.rounds, m.length)
	var t bench.Table
	t.Row("", "mails/s", "ratio", "log µs", "log ratio", "sender µs", "p50 ms", "p99 ms", "max ms", "mails/pack", "fsyncs/pack", "fsyncs/mail", "in fsync")
	reference := "single, synced"
	if m.before != "" {
		reference = "before, synced"
	}
	for _, r := range m.rows() {
		if got := results[r.name]; len(got) > 0 {
			t.Row(append([]string{r.name}, cells(got, results[reference], fsyncs[r.name], r.name == reference)...)...)
		}
	}
	t.Write(os.Stdout)
	if synced, unsynced := results["packs, synced"], results["packs, unsynced"]; synced != nil && unsynced != nil {
		fmt.Printf("  packs, synced / packs, unsynced: %s × the rate\n", bench.Ratio(synced, rate, unsynced, rate).Text(2))
	}
}

func rate(r result) float64    { return r.rate }
func logTime(r result) float64 { return micros(r.log) }

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// cells are the columns of one row. The row that others are compared with has no ratios.
func cells(got, base []result, counted result, reference bool) []string {
	millis := func(of func(result) time.Duration) string {
		return bench.Of(got, func(r result) float64 { return micros(of(r)) / 1e3 }).Mid(2)
	}
	rates, logs := bench.Ratio(got, rate, base, rate).Text(2), bench.Ratio(got, logTime, base, logTime).Text(2)
	if reference {
		rates, logs = "1", "1"
	}
	pack, perPack, perMail, syncing := "–", "–", "–", "–"
	if got[0].packs > 0 {
		pack = bench.Of(got, func(r result) float64 { return r.pack }).Mid(1)
	}
	if counted.packs > 0 {
		perPack = fmt.Sprintf("%.2f", counted.fsyncs/counted.packs)
	}
	if counted.mails > 0 {
		perMail, syncing = fmt.Sprintf("%.3f", counted.fsyncs/counted.mails), fmt.Sprintf("%.0f %%", 100*counted.syncing)
	}
	return []string{
		bench.Of(got, rate).Mid(0), rates, bench.Of(got, logTime).Mid(0), logs,
		bench.Of(got, func(r result) float64 { return micros(r.sender) }).Mid(0),
		millis(func(r result) time.Duration { return r.p50 }), millis(func(r result) time.Duration { return r.p99 }),
		millis(func(r result) time.Duration { return r.max }),
		pack, perPack, perMail, syncing,
	}
}
