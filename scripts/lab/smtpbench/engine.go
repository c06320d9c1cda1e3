package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
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

var loads = []load{
	{"4 KB, kept connections", 4 << 10, 30000, 0, false},
	{"4 KB, kept and pipelined", 4 << 10, 30000, 0, true},
	{"20 KB, kept connections", 20 << 10, 20000, 0, false},
	{"200 KB, kept connections", 200 << 10, 4000, 0, false},
	{"4 KB, a connection per mail", 4 << 10, 15000, 1, false},
	{"20 KB, a connection per mail", 20 << 10, 15000, 1, false},
}

// cost is CPU time of the server process per mail.
type cost struct{ user, sys time.Duration }

func (c cost) total() time.Duration { return c.user + c.sys }

// runEngine sends the same mail to the engines in turn and compares the CPU time of the server
// processes.
func runEngine(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("engine", flag.ContinueOnError)
	rounds := fs.Int("rounds", 3, "rounds; the median counts")
	conns := fs.Int("conns", 4, "connections at the same time")
	others := fs.String("with", "", "smtpbench programs built from other revisions, comma-separated: their engine, too")
	only := fs.String("only", "", "only loads whose name has this in it")
	scale := fs.Float64("scale", 1, "factor on the number of mails")
	profile := fs.String("cpuprofile", "", "write CPU profiles of our server to this file name, one per load appended")
	if err := fs.Parse(args); err != nil {
		return err
	}
	list, err := engines(*others)
	if err != nil {
		return err
	}
	fmt.Printf("%-30s", "CPU us/mail (user+sys)")
	for _, e := range list {
		fmt.Printf(" %-24s", e.name)
	}
	fmt.Println("  sluice / each other (quartiles)")
	for i, l := range loads {
		if !strings.Contains(l.name, *only) {
			continue
		}
		l.mails = int(float64(l.mails) * *scale)
		results := make([][]cost, len(list))
		for round := range *rounds {
			for k, e := range list {
				var flags []string
				if *profile != "" && k == 0 && round == 0 {
					flags = append(flags, "-cpuprofile", fmt.Sprintf("%s.%d", *profile, i))
				}
				c, err := measureLoad(ctx, e, l, *conns, flags)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", e.name, l.name, err)
				}
				results[k] = append(results[k], c)
			}
		}
		fmt.Printf("%-30s", l.name)
		for _, r := range results {
			fmt.Printf(" %-24s", median(r))
		}
		for _, r := range results[1:] {
			fmt.Printf("  %s", ratio(results[0], r))
		}
		fmt.Println()
	}
	return nil
}

// ratio compares what was measured in the same round: the median, and the quartiles around it.
func ratio(ours, other []cost) string {
	r := make([]float64, len(ours))
	for i := range r {
		r[i] = float64(ours[i].total()) / float64(other[i].total())
	}
	slices.Sort(r)
	return fmt.Sprintf("%.2f (%.2f to %.2f)", r[len(r)/2], r[len(r)/4], r[(len(r)*3)/4])
}

func (c cost) String() string {
	us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	return fmt.Sprintf("%.1f (%.1f+%.1f)", us(c.total()), us(c.user), us(c.sys))
}

func median(c []cost) cost {
	c = slices.SortedFunc(slices.Values(c), func(a, b cost) int { return cmp.Compare(a.total(), b.total()) })
	return c[len(c)/2]
}

func measureLoad(ctx context.Context, e engine, l load, conns int, flags []string) (c cost, err error) {
	srv, err := e.start(ctx, flags...)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, srv.Stop()) }()
	if err := send(srv.Addr, l, conns, max(l.mails/20, conns)); err != nil { // warm up
		return c, err
	}
	before, err := srv.ask("usage")
	if err != nil {
		return c, err
	}
	if err := send(srv.Addr, l, conns, l.mails); err != nil {
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
