// Command readersbench measures what readers who wait for mail cost: the memory of a replica of the inbox that holds their
// event streams, how soon an arrival reaches all readers of one mailbox, and how much slower mail is stored meanwhile.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/smtp"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

const usage = `scripts/bench readers [flags]

One replica of the inbox holds the event streams of many readers: some follow one mailbox, each of the others a mailbox of its
own. It and its clients are processes of their own; each may open 20,000 files at most. Printed are the replica's memory without
readers and with them; from the 250 of a mail to the event at the first and at the last of the one mailbox's readers; and mails
stored per second without readers next to with them.

    scripts/bench readers -readers 10000 -crowd 1000`

type settings struct {
	readers, crowd, arrivals, mails, rounds int
}

func main() {
	var s settings
	fs := flag.NewFlagSet("readersbench", flag.ExitOnError)
	bench.Positive(fs, &s.readers, "readers", 10_000, "event streams")
	bench.Positive(fs, &s.crowd, "crowd", 1_000, "how many of them follow the same mailbox")
	bench.Positive(fs, &s.arrivals, "arrivals", 20, "mails to that mailbox")
	bench.Positive(fs, &s.mails, "mails", 10_000, "mails of 4 KB to store, each time")
	bench.Positive(fs, &s.rounds, "rounds", 3, "how often to store without readers and with them")
	bench.Usage(fs, usage)
	_ = fs.Parse(os.Args[1:]) // ExitOnError
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := s.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "readersbench:", err)
		os.Exit(1)
	}
}

func (s settings) run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "readersbench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bench.Progress("building")
	binaries, err := fleet.Build(dir)
	if err != nil {
		return err
	}
	f, err := fleet.New(dir, binaries, 1, "LOG_LEVEL=warn")
	defer func() { _ = f.Close() }()
	if err != nil {
		return err
	}
	if err := f.Start(ctx); err != nil {
		return err
	}
	m := &measurement{settings: s, fleet: f, inbox: f.NewMailbox("mailbox", "LOG_LEVEL=warn")}
	defer m.inbox.Kill() // in vain when it was stopped
	return m.run(ctx)
}

// measurement is one run.
type measurement struct {
	settings
	fleet *fleet.Fleet
	inbox *fleet.Process
}

func (m *measurement) run(ctx context.Context) error {
	if err := m.inbox.Start(); err != nil {
		return err
	}
	if err := m.inbox.Ready(ctx); err != nil {
		return err
	}
	if _, err := m.store(ctx); err != nil { // the first is slower
		return err
	}
	before := m.memory("VmRSS")
	var without, with []float64
	for range m.rounds {
		rate, err := m.store(ctx)
		if err != nil {
			return err
		}
		without = append(without, rate)
	}
	crowd, hangUp, err := m.connect(ctx)
	if err != nil {
		return err
	}
	defer hangUp()
	bench.Progress("%d readers wait", m.readers)
	quiet, first, last, err := m.arrive(ctx, crowd)
	if err != nil {
		return err
	}
	for range m.rounds {
		rate, err := m.store(ctx)
		if err != nil {
			return err
		}
		with = append(with, rate)
	}
	fmt.Printf("%d readers of %d mailboxes, %d of them of one\n", m.readers, m.readers-m.crowd+1, m.crowd)
	var t bench.Table
	t.Row("memory of the replica, MiB", fmt.Sprintf("%d without, %d with, %d at its peak", before, quiet, m.memory("VmHWM")))
	t.Row("from the 250 to the first reader, ms", bench.Over(first).Text(0))
	t.Row("from the 250 to the last reader, ms", bench.Over(last).Text(0))
	t.Row("mails stored per second, without", bench.Over(without).Text(0))
	t.Row("mails stored per second, with", bench.Over(with).Text(0))
	t.Row("with : without", fmt.Sprintf("%.2f", bench.Over(with).Median/bench.Over(without).Median))
	t.Write(os.Stdout)
	return nil
}

// arrive sends mails to the one mailbox, one after the other, and measures until its readers know; before that, the memory of
// the replica.
func (m *measurement) arrive(ctx context.Context, crowd <-chan time.Time) (quiet int, first, last []float64, err error) {
	quiet = m.memory("VmRSS")
	for range m.arrivals {
		body := []byte("Subject: arrival\r\n\r\nx\r\n")
		if err := smtp.SendMail(m.fleet.Ingresses[0].Addrs["smtp"], nil, "a@sender.example", []string{crowdMailbox}, body); err != nil {
			return 0, nil, nil, err
		}
		began := time.Now()
		var lastAt time.Time
		for i := range m.crowd {
			select {
			case at := <-crowd:
				if i == 0 {
					first = append(first, at.Sub(began).Seconds()*1000)
				}
				if at.After(lastAt) {
					lastAt = at
				}
			case <-time.After(time.Minute):
				return 0, nil, nil, fmt.Errorf("%d of %d readers are told within a minute", i, m.crowd)
			case <-ctx.Done():
				return 0, nil, nil, ctx.Err()
			}
		}
		last = append(last, lastAt.Sub(began).Seconds()*1000)
	}
	return quiet, first, last, nil
}

// store sends mail and waits until it is stored; it returns mails per second.
func (m *measurement) store(ctx context.Context) (float64, error) {
	began := time.Now()
	_, err := m.fleet.Ctl(ctx, "load", "-to", m.fleet.Ingresses[0].Addrs["smtp"], "-count", strconv.Itoa(m.mails), "-sizes", "4KB", "-conns", "16", "-resend", "5")
	if err != nil {
		return 0, err
	}
	for range 3000 {
		out, err := m.fleet.Ctl(ctx, "status", "--json")
		if err != nil {
			return 0, err
		}
		if stored.MatchString(out) {
			rate := float64(m.mails) / time.Since(began).Seconds()
			bench.Progress("%.0f mails/s", rate)
			return rate, nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return 0, errors.New("the mail is not stored after some minutes")
}

// memory is a line of the replica's status, in MiB.
func (m *measurement) memory(line string) int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.inbox.PID())) // gone: 0
	_, rest, _ := strings.Cut(string(status), line+":")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.Atoi(fields[0])
	return kib >> 10
}
