// Command refusals sends an allinone what an MX gets on a day, good mail and bad, from several networks, and then asks the
// log and the metrics how much was refused, why, from which networks and for which domains, with the very queries that
// deploy/README.md has. It fails unless they answer what was sent.
//
//	(cd scripts/lab && GOWORK=off go run ./refusals -sessions 2000)
//
// Needs bash and jq.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"time"

	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

func main() {
	sessions := flag.Int("sessions", 2000, "how many clients come")
	seed := flag.Uint64("seed", 1, "same seed, same clients")
	flag.Parse()
	if err := run(*sessions, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "refusals: FAILED:", err)
		os.Exit(1)
	}
}

func run(sessions int, seed uint64) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "sluice-refusals-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binaries, err := fleet.Build(dir)
	if err != nil {
		return err
	}
	// XCLIENT lets one machine be many clients.
	p := fleet.NewAllinone(binaries, dir+"/data", "LOG_FORMAT=json", "INGRESS_DOMAINS=example.com", "INGRESS_XCLIENT_FROM=loopback", "INGRESS_MAX_MESSAGE_BYTES=1MiB")
	if err := p.Start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop(p)) }()
	if err := p.Ready(ctx); err != nil {
		return err
	}
	if err := deny(ctx, binaries, dir+"/data", p.Addrs["smtp"]); err != nil {
		return err
	}
	before, err := counted(ctx, p)
	if err != nil {
		return err
	}
	sent, err := play(p.Addrs["smtp"], sessions, seed)
	if err != nil {
		return err
	}
	after, err := counted(ctx, p)
	if err != nil {
		return err
	}
	if err := stop(p); err != nil { // what was left out is written at the end
		return err
	}
	return judge(dir, p.Log(), sent, before, after)
}

func stop(p *fleet.Process) error {
	if !p.Running() {
		return nil
	}
	return p.Stop(time.Minute)
}

// judge compares what was sent with what the log and the metrics say.
func judge(dir, log string, sent tally, before, after map[string]int) error {
	maps.DeleteFunc(after, func(reason string, n int) bool { return n == 0 })
	for reason, n := range before { // what was refused while we waited for the denial
		sent.why[reason] += n
		sent.total += n
		sent.networks["192.0.2.0/24"] += n
	}
	seen, err := ask(dir, log)
	if err != nil {
		return err
	}
	fmt.Printf("refused %d: %v\nfrom %v\nfor %v\n", seen.total, seen.why, seen.networks, seen.domains)
	switch {
	case seen.total != sent.total:
		return fmt.Errorf("the log has %d refusals, %d were provoked", seen.total, sent.total)
	case !maps.Equal(seen.why, sent.why):
		return fmt.Errorf("the log says why: %v; provoked were %v", seen.why, sent.why)
	case !maps.Equal(seen.networks, sent.networks):
		return fmt.Errorf("the log says from where: %v; it was %v", seen.networks, sent.networks)
	case !maps.Equal(after, sent.why):
		return fmt.Errorf("the metrics say why: %v; provoked were %v", after, sent.why)
	}
	// Domains are only in the lines that were written whole.
	for domain, n := range seen.domains {
		if n > sent.domains[domain] {
			return fmt.Errorf("the log has %d refusals for %s, %d were provoked", n, domain, sent.domains[domain])
		}
	}
	if len(seen.domains) != len(sent.domains) {
		return fmt.Errorf("the log has the domains %v, provoked were %v", seen.domains, sent.domains)
	}
	return nil
}
