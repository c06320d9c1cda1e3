package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/mailcache"
	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

// world is the servers, filled.
type world struct {
	settings settings
	dir      string
	fleet    *fleet.Fleet
	inbox    *fleet.Process
	cache    *mailcache.Cache
	servers  map[string]*server
	boxes    []box
	rate     float64 // mails stored per second
	trials   []trial
}

// box is a mailbox, its mails the newest first.
type box struct {
	name  string
	mails []ulid.ULID
}

func (b box) list() string             { return "/api/v1/mailboxes/" + b.name + "/messages" }
func (b box) mail(id ulid.ULID) string { return b.list() + "/" + id.String() }

// prepare returns a world to close also when it fails.
func (s settings) prepare(ctx context.Context) (*world, error) {
	w := &world{settings: s, servers: make(map[string]*server)}
	var err error
	if w.dir, err = os.MkdirTemp("", "readbench"); err != nil {
		return w, err
	}
	bench.Progress("building")
	binaries, err := fleet.Build(w.dir)
	if err != nil {
		return w, err
	}
	w.fleet, err = fleet.New(w.dir, binaries, 1, "LOG_LEVEL=warn")
	if err == nil {
		err = w.fleet.Start(ctx)
	}
	if err != nil {
		return w, err
	}
	cacheAddr := w.fleet.Memcached.Addrs["client"]
	w.cache = mailcache.New(mailcache.Config{Addrs: []string{cacheAddr}, Timeout: time.Second}, nil, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	debug := fleet.FreeAddr()
	w.inbox = w.fleet.NewMailbox("mailbox", "DEBUG_ADDR="+debug) // logs each request, as it does when it is not told otherwise
	w.inbox.Addrs["debug"] = debug
	for name, from := range map[string]string{"get": cacheAddr, "row": w.fleet.DSN(), "rows": w.fleet.DSN()} {
		if name == "row" {
			if err := w.bareTable(); err != nil {
				return w, err
			}
		}
		if w.servers[name], err = startBare(ctx, name, from); err != nil {
			return w, err
		}
	}
	if err := w.fill(ctx); err != nil {
		return w, err
	}
	return w, w.plan(ctx, memcache.New(cacheAddr))
}

func (w *world) bareTable() error {
	db, err := sql.Open("mysql", w.fleet.DSN())
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.Exec("CREATE TABLE readbench (name VARBINARY(100) PRIMARY KEY, body MEDIUMBLOB NOT NULL)")
	return err
}

// freshInbox starts a replica that has not shown anything yet.
func (w *world) freshInbox(ctx context.Context) error {
	if w.inbox.Running() {
		if err := w.inbox.Stop(20 * time.Second); err != nil {
			return err
		}
	}
	if err := w.inbox.Start(); err != nil {
		return err
	}
	if err := w.inbox.Ready(ctx); err != nil {
		return err
	}
	w.servers["inbox"] = &server{addr: w.inbox.Addrs["http"], pid: w.inbox.PID()}
	c, err := dial(w.inbox.Addrs["http"])
	if err != nil {
		return err
	}
	defer c.conn.Close()
	for _, b := range w.boxes { // whoever opens a mail has seen the list
		if _, _, err := c.ask(request{path: b.list()}); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) load(ctx context.Context, args ...string) (string, error) {
	return w.fleet.Ctl(ctx, append([]string{"load", "-to", w.fleet.Ingresses[0].Addrs["smtp"], "-sizes", w.settings.size, "-conns", "16", "-resend", "5"}, args...)...)
}

var stored = regexp.MustCompile(`"unstored_messages": ?0\b`)

// fill sends the mails, and measures how fast they are stored.
func (w *world) fill(ctx context.Context) error {
	count := w.settings.mailboxes * w.settings.mails
	bench.Progress("storing %d mails", count)
	start := time.Now()
	if _, err := w.load(ctx, "-count", strconv.Itoa(count), "-mailboxes", strconv.Itoa(w.settings.mailboxes)); err != nil {
		return err
	}
	for out := ""; !stored.MatchString(out); {
		var err error
		if out, err = w.fleet.Ctl(ctx, "status", "--json"); err != nil {
			return err
		}
	}
	w.rate = float64(count) / time.Since(start).Seconds()
	if err := w.freshInbox(ctx); err != nil {
		return err
	}
	c, err := dial(w.inbox.Addrs["http"])
	if err != nil {
		return err
	}
	defer c.conn.Close()
	for i := range w.settings.mailboxes {
		b := box{name: fmt.Sprintf("user%d@example.com", i)}
		body, _, err := c.ask(request{path: b.list() + "?limit=200"})
		if err != nil {
			return err
		}
		var list struct{ Messages []struct{ ID ulid.ULID } }
		if err := json.Unmarshal(body, &list); err != nil {
			return err
		}
		for _, m := range list.Messages[:min(len(list.Messages), mailcache.PageEntries)] {
			b.mails = append(b.mails, m.ID)
		}
		w.boxes = append(w.boxes, b)
	}
	return w.warm(ctx, c)
}

// warm sees to it that memcached has all of the mails: one that the cachewarmer could not put there comes by being read.
func (w *world) warm(ctx context.Context, c *client) error {
	for _, b := range w.boxes {
		for _, id := range b.mails {
			for range 10 {
				if _, ok := w.cache.Message(id); ok {
					break
				}
				if _, _, err := c.ask(request{path: b.mail(id)}); err != nil {
					return err
				}
			}
		}
	}
	return ctx.Err()
}

func (w *world) nothing(context.Context) (func() error, error) {
	return func() error { return nil }, nil
}

// storing stores mail for other mailboxes at half the rate that was reached before, until it is stopped.
func (w *world) storing(ctx context.Context) (func() error, error) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	seed := strconv.FormatInt(time.Now().UnixNano(), 10)
	go func() {
		_, err := w.load(ctx, "-duration", "1h", "-rate", fmt.Sprint(w.rate/2), "-domains", "other.example", "-seed", seed)
		done <- err
	}()
	return func() error {
		select {
		case err := <-done:
			cancel()
			return fmt.Errorf("storing ended early: %w", err)
		default:
			cancel()
			<-done // that it was stopped
			return nil
		}
	}, nil
}

func (w *world) close() {
	var problems []error
	for _, s := range w.servers {
		if s.bare != nil {
			problems = append(problems, s.bare.Stop())
		}
	}
	if w.cache != nil {
		w.cache.Close()
	}
	if w.inbox != nil && w.inbox.Running() {
		problems = append(problems, w.inbox.Kill())
	}
	if w.fleet != nil {
		problems = append(problems, w.fleet.Close())
	}
	if w.dir != "" {
		problems = append(problems, os.RemoveAll(w.dir))
	}
	if err := errors.Join(problems...); err != nil && !strings.Contains(err.Error(), "killed") {
		fmt.Fprintln(os.Stderr, "readbench: stopping:", err)
	}
}
