package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"sync"
	"time"
)

// load is one kind of traffic.
type load struct {
	name    string
	size    int
	mails   int
	perConn int // mails per connection; 0 keeps every connection to the end

	pipelined bool // the commands before the body go together
}

// cost is CPU time of the server process per mail.
type cost struct{ user, sys time.Duration }

func (c cost) total() time.Duration { return c.user + c.sys }

// runEngine sends the same mail to both engines in turn and compares the CPU time of the server processes.
func runEngine(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("engine", flag.ContinueOnError)
	rounds := fs.Int("rounds", 3, "rounds; the median counts")
	conns := fs.Int("conns", 4, "connections at the same time")
	scale := fs.Float64("scale", 1, "factor on the number of mails")
	profile := fs.String("cpuprofile", "", "write CPU profiles of our server to this file name, one per load appended")
	if err := fs.Parse(args); err != nil {
		return err
	}
	fmt.Printf("%-30s %-26s %-26s %s\n", "CPU us/mail (user+sys)", "sluice", "go-smtp", "ratio")
	for i, l := range []load{
		{"4 KB, kept connections", 4 << 10, 30000, 0, false},
		{"4 KB, kept and pipelined", 4 << 10, 30000, 0, true},
		{"200 KB, kept connections", 200 << 10, 4000, 0, false},
		{"4 KB, a connection per mail", 4 << 10, 15000, 1, false},
	} {
		l.mails = int(float64(l.mails) * *scale)
		results := map[string][]cost{}
		for round := range *rounds {
			for _, engine := range []string{"sluice", "go-smtp"} {
				flags := []string{"-engine", engine}
				if *profile != "" && engine == "sluice" && round == 0 {
					flags = append(flags, "-cpuprofile", fmt.Sprintf("%s.%d", *profile, i))
				}
				c, err := measureLoad(ctx, l, *conns, flags)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", engine, l.name, err)
				}
				results[engine] = append(results[engine], c)
			}
		}
		ours, ref := median(results["sluice"]), median(results["go-smtp"])
		fmt.Printf("%-30s %-26s %-26s %.2f\n", l.name, ours, ref, float64(ours.total())/float64(ref.total()))
	}
	return nil
}

func (c cost) String() string {
	us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	return fmt.Sprintf("%.1f (%.1f+%.1f)", us(c.total()), us(c.user), us(c.sys))
}

func median(c []cost) cost {
	slices.SortFunc(c, func(a, b cost) int { return int(a.total() - b.total()) })
	return c[len(c)/2]
}

func measureLoad(ctx context.Context, l load, conns int, flags []string) (c cost, err error) {
	srv, err := startChild(ctx, flags...)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()
	if err := send(srv.addr, l, conns, max(l.mails/20, conns)); err != nil { // warm up
		return c, err
	}
	before, err := srv.ask("usage")
	if err != nil {
		return c, err
	}
	if err := send(srv.addr, l, conns, l.mails); err != nil {
		return c, err
	}
	after, err := srv.ask("usage")
	if err != nil {
		return c, err
	}
	n := time.Duration(l.mails / conns * conns)
	return cost{(after.User - before.User) / n, (after.Sys - before.Sys) / n}, nil
}

func send(addr string, l load, conns, mails int) error {
	text := body(l.size)
	errs := make([]error, conns)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = sendFrom(addr, l, mails/conns, text) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func sendFrom(addr string, l load, mails int, text []byte) error {
	var c *client
	for i := range mails {
		if c == nil {
			var err error
			if c, err = dial(addr); err != nil {
				return err
			}
			c.pipelined = l.pipelined
			if err := c.hello(); err != nil {
				return err
			}
		}
		if err := c.mail(text); err != nil {
			return err
		}
		if i == mails-1 || l.perConn > 0 && (i+1)%l.perConn == 0 {
			if err := c.quit(); err != nil {
				return err
			}
			c = nil
		}
	}
	return nil
}
