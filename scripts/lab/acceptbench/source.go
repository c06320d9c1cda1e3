package main

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

// load is one kind of mail on one kind of connection.
type load struct {
	mode string
	size int
}

func (l load) String() string {
	connections := map[string]string{kept: "kept connections", perMail: "a connection per mail"}[l.mode]
	if l.size%1024 == 0 {
		return fmt.Sprintf("%d KB, %s", l.size>>10, connections)
	}
	return fmt.Sprintf("%d bytes, %s", l.size, connections)
}

// send sends all mails by several smtp-sources, to the addresses in turn, and returns how long that took.
func (m *measurer) send(ctx context.Context, l load, sources int, addrs ...string) (time.Duration, error) {
	start := time.Now()
	var all sync.WaitGroup
	failed := make(chan error, sources)
	for i := range sources {
		all.Go(func() {
			failed <- source(ctx, l, part(m.conns, i, sources), part(m.mails, i, sources), addrs[i%len(addrs)])
		})
	}
	all.Wait()
	took := time.Since(start)
	for range sources {
		if err := <-failed; err != nil {
			return 0, err
		}
	}
	return took, nil
}

// part is what the i-th of n gets of a total.
func part(total, i, n int) int { return total*(i+1)/n - total*i/n }

func source(ctx context.Context, l load, conns, mails int, addr string) error {
	args := []string{"-s", strconv.Itoa(conns), "-m", strconv.Itoa(mails), "-l", strconv.Itoa(l.size),
		"-f", "a@b.example", "-t", "u@example.com", "-N"}
	if l.mode == kept {
		args = append(args, "-d")
	}
	out, err := exec.CommandContext(ctx, fleet.LookPath("smtp-source"), append(args, addr)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("smtp-source: %w\n%s", err, out)
	}
	return nil
}

// listening waits until something accepts connections there.
func listening(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}
