package main

import (
	"fmt"
	"os"

	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
)

// figure picks one of each round.
type figure func(round) float64

func acceptTime(names ...string) figure {
	return func(r round) float64 { return r.accept.of(names...) }
}
func storeTime(names ...string) figure { return func(r round) float64 { return r.store.of(names...) } }
func sinkTime(r round) float64         { return r.sink.of(smtpSink) }
func sinkRate(r round) float64         { return r.sink.rate }

// report prints the table of one kind of load.
func report(l load, rounds []round) {
	fmt.Printf("\n%s: processor time per mail in µs\n", l)
	var t bench.Table
	t.Row("", "accepting alone", "× smtp-sink", "accepting and storing", "× smtp-sink", "peak MiB")
	t.Row(smtpSink, bench.Of(rounds, sinkTime).Text(0), "1", "", "1", "")
	line := func(name, peak string, accept, store figure) {
		alone, ratio := "–", "–"
		if _, ran := rounds[0].accept.cpu[name]; ran || peak == "" {
			alone, ratio = bench.Of(rounds, accept).Text(0), bench.Ratio(rounds, accept, rounds, sinkTime).Text(2)
		}
		t.Row(name, alone, ratio, bench.Of(rounds, store).Text(0), bench.Ratio(rounds, store, rounds, sinkTime).Text(2), peak)
	}
	for _, name := range everything() {
		line(name, bench.Of(rounds, func(r round) float64 { return r.store.peak[name] }).Mid(0), acceptTime(name), storeTime(name))
	}
	line("ingress + nats", "", acceptTime(front()...), storeTime(front()...))
	line("everything", "", acceptTime(everything()...), storeTime(everything()...))
	t.Row()
	accepted, stored := func(r round) float64 { return r.accept.rate }, func(r round) float64 { return r.store.rate }
	t.Row("mails/s", bench.Of(rounds, accepted).Text(0), bench.Ratio(rounds, accepted, rounds, sinkRate).Text(2),
		bench.Of(rounds, stored).Text(0), bench.Ratio(rounds, stored, rounds, sinkRate).Text(2))
	t.Row("mails/s of smtp-sink", bench.Of(rounds, sinkRate).Text(0), "1", "", "1")
	t.Write(os.Stdout)
}
