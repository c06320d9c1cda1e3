package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// runIdle opens many connections, brings each to the point where a client would send its first mail, and
// measures what the server process has become larger by.
func runIdle(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("idle", flag.ContinueOnError)
	n := fs.Int("n", 15000, "plaintext connections")
	tlsN := fs.Int("tls-n", 5000, "TLS connections")
	others := fs.String("with", "", "smtpbench programs built from other revisions, comma-separated: their engine, too")
	settle := fs.Duration("settle", 6*time.Second, "how long connections are idle before the measurement")
	if err := fs.Parse(args); err != nil {
		return err
	}
	list, err := engines(*others)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "smtpbench-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := writeCertificate(cert, key); err != nil {
		return err
	}
	fmt.Printf("%-26s %-8s %6s %10s %10s %8s %8s\n", "bytes per idle connection", "engine", "n", "resident", "after GC", "heap", "stack")
	for _, kind := range []struct {
		name    string
		n       int
		mail    bool
		prepare func(*client) error
	}{
		{"plain, after EHLO", *n, false, (*client).hello},
		{"plain, after a 4 KB mail", *n, true, (*client).hello},
		{"TLS, after EHLO", *tlsN, false, helloTLS},
	} {
		for _, e := range list {
			prepare := kind.prepare
			if kind.mail {
				prepare = helloAndMail
			}
			r, err := measureIdle(ctx, e, kind.n, *settle, prepare, cert, key)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", e.name, kind.name, err)
			}
			fmt.Printf("%-26s %-8s %6d %10d %10d %8d %8d\n", kind.name, e.name, kind.n, r.RSS, r.afterGC, r.Heap, r.Stacks)
		}
	}
	return nil
}

func helloTLS(c *client) error {
	if err := c.hello(); err != nil {
		return err
	}
	return c.startTLS()
}

func helloAndMail(c *client) error {
	if err := c.hello(); err != nil {
		return err
	}
	return c.mail(body(4 << 10))
}

type idleResult struct {
	usage         // per connection, as it is
	afterGC int64 // resident, after a collection
}

func measureIdle(ctx context.Context, e engine, n int, settle time.Duration, prepare func(*client) error, cert, key string) (r idleResult, err error) {
	srv, err := e.start(ctx, "-cert", cert, "-key", key)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, srv.Stop()) }()
	// What the first connections cost once is not what each costs.
	warm, err := openIdle(srv.Addr, 50, prepare)
	if err != nil {
		return r, err
	}
	closeAll(warm)
	before, err := srv.ask("gc")
	if err != nil {
		return r, err
	}
	conns, err := openIdle(srv.Addr, n, prepare)
	defer closeAll(conns)
	if err != nil {
		return r, err
	}
	select {
	case <-time.After(settle):
	case <-ctx.Done():
		return r, ctx.Err()
	}
	after, err := srv.ask("usage")
	if err != nil {
		return r, err
	}
	collected, err := srv.ask("gc")
	if err != nil {
		return r, err
	}
	per := func(after, before int64) int64 { return (after - before) / int64(n) }
	r.RSS, r.afterGC = per(after.RSS, before.RSS), per(collected.RSS, before.RSS)
	r.Heap, r.Stacks = per(collected.Heap, before.Heap), per(collected.Stacks, before.Stacks)
	return r, nil
}

// openIdle opens n connections from a few workers.
func openIdle(addr string, n int, prepare func(*client) error) ([]net.Conn, error) {
	conns := make([]net.Conn, n)
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for worker := range errs {
		wg.Go(func() {
			for i := worker; i < n && errs[worker] == nil; i += len(errs) {
				c, err := dial(addr)
				if err == nil {
					err = prepare(c)
				}
				if errs[worker] = err; c != nil {
					conns[i] = c.conn
				}
			}
		})
	}
	wg.Wait()
	return conns, errors.Join(errs...)
}

func closeAll(conns []net.Conn) {
	for _, c := range conns {
		if c != nil {
			_ = c.Close()
		}
	}
}
