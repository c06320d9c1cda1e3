package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/smtp"
	"github.com/sluice-mail/sluice/pkg/smtpd"
	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
)

// usage is what a server process has used up to now.
type usage struct {
	User, Sys  time.Duration // CPU
	RSS        int64         // resident bytes
	Heap       int64         // live and not yet collected heap objects
	Stacks     int64
	Goroutines int
}

// runServe is one server process. It prints its address, then answers each line on its input: "usage" with the
// numbers, "gc" with the numbers after a collection that gives memory back. It ends with its input.
func runServe(args []string) (err error) {
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	engine := fs.String("engine", "sluice", "sluice or go-smtp")
	cert := fs.String("cert", "", "PEM certificate for STARTTLS")
	key := fs.String("key", "", "PEM key")
	profile := fs.String("cpuprofile", "", "write a CPU profile of the whole life to this file")
	if err := fs.Parse(args); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	serve, err := server(*engine, *cert, *key)
	if err != nil {
		return err
	}
	stop, err := bench.Profile(*profile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	go func() { _ = serve(l) }()
	fmt.Println(l.Addr())
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		switch in.Text() {
		case "gc":
			debug.FreeOSMemory()
		case "heap":
			runtime.GC()
			f, err := os.Create("heap.prof")
			if err != nil {
				return err
			}
			if err := pprof.WriteHeapProfile(f); err != nil {
				return err
			}
			f.Close()
		}
		if err := json.NewEncoder(os.Stdout).Encode(measure()); err != nil {
			return err
		}
	}
	return in.Err()
}

func server(engine, cert, key string) (func(net.Listener) error, error) {
	if engine == "go-smtp" {
		return goSMTP(cert, key)
	}
	srv, err := smtpd.NewServer(smtpd.Config{
		Hostname: "mx.example.com",
		MaxConns: 1 << 16,
		// The load comes from one address.
		LimitExempt: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		TLSCert:     cert, TLSKey: key,
	}, discard{}, discard{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	return func(l net.Listener) error { return srv.Serve(l, smtpd.ListenerPlain) }, nil
}

// discard is the sink and the recipients of ours.
type discard struct{}

func (discard) Ready() error { return nil }

func (discard) Begin(*smtpd.Transaction) (smtpd.Delivery, error) { return discard{}, nil }

func (discard) Write([]byte) error { return nil }

func (discard) Commit(context.Context, uint64) (string, error) { return "01", nil }

func (discard) Abort() {}

func (discard) Mail(context.Context, *smtpd.Transaction) error { return nil }

func (discard) Rcpt(_ context.Context, _ *smtpd.Transaction, r smtp.Rcpt) (string, error) {
	return r.Local + "@" + r.Domain, nil
}

func goSMTP(cert, key string) (func(net.Listener) error, error) {
	srv := gosmtp.NewServer(gosmtp.BackendFunc(func(*gosmtp.Conn) (gosmtp.Session, error) { return session{}, nil }))
	srv.Domain = "mx.example.com"
	srv.MaxMessageBytes = 25 << 20
	srv.MaxRecipients = 100
	srv.ReadTimeout, srv.WriteTimeout = 300*time.Second, 60*time.Second
	srv.EnableSMTPUTF8 = true
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, err
		}
		srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true}
	}
	return srv.Serve, nil
}

// session is go-smtp's side of the discarding sink.
type session struct{}

func (session) Reset() {}

func (session) Logout() error { return nil }

func (session) Mail(string, *gosmtp.MailOptions) error { return nil }

func (session) Rcpt(string, *gosmtp.RcptOptions) error { return nil }

func (session) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

func measure() usage {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		panic(err)
	}
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(samples)
	return usage{
		User: time.Duration(ru.Utime.Nano()), Sys: time.Duration(ru.Stime.Nano()),
		RSS:  resident(),
		Heap: int64(samples[0].Value.Uint64()), Stacks: int64(samples[1].Value.Uint64()),
		Goroutines: runtime.NumGoroutine(),
	}
}

// resident reads VmRSS: statm's number is only brought up to date every 64 pages per thread.
func resident() int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	var kb int64
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		return 0
	}
	return kb << 10
}
