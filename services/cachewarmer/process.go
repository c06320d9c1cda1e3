package cachewarmer

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/sluice-mail/sluice/pkg/mailcache"
	"github.com/sluice-mail/sluice/pkg/stream/consume"
	"github.com/sluice-mail/sluice/services/internal/logconn"
	"github.com/sluice-mail/sluice/services/internal/process"
	"github.com/sluice-mail/sluice/services/internal/replaycmd"
)

// ProcessConfig is the whole configuration of a cachewarmer in a process of its own.
type ProcessConfig struct {
	Config
	Log logconn.Config // how to connect to the log
}

// Open connects to the log and to the cache; it waits for neither.
func (c *ProcessConfig) Open(e *process.Env) (Deps, func(), error) {
	conn, err := logconn.Connect(c.Log, "cachewarmer", e.Logger)
	if err != nil {
		return Deps{}, nil, err
	}
	cache := mailcache.New(mailcache.Config{Addrs: c.Addrs, TTL: c.TTL}, nil, e.Logger, e.Metrics)
	memory := unused()
	closeAll := func() {
		runtime.KeepAlive(memory)
		_ = conn.FlushTimeout(5 * time.Second) // the last acknowledgements
		conn.Close()
		cache.Close()
	}
	return Deps{Conn: conn, Cache: cache, Logger: e.Logger, Metrics: e.Metrics, Health: e.Health}, closeAll, nil
}

// Replay is `cachewarmer replay`.
func (c *ProcessConfig) Replay(ctx context.Context, e *process.Env) error {
	deps, closeAll, err := c.Open(e)
	if err != nil {
		return err
	}
	defer closeAll()
	h := newHandler(deps.Cache, deps.Metrics)
	cmd := replaycmd.Command{
		Service: "cachewarmer",
		Target:  strings.Join(c.Addrs, ","),
		Handler: func(replaycmd.Options) consume.Handler { return h },
		Report: func(out io.Writer) {
			count := func(o mailcache.Outcome) int64 { return h.results[o].count.Load() }
			fmt.Fprintf(out, "; cached %d, too large %d, not taken by the cache %d", count(mailcache.Cached), count(mailcache.TooLarge), count(mailcache.Skipped))
		},
	}
	return cmd.Run(ctx, deps.Conn, deps.Logger, deps.Metrics, e.Args, e.Stdout)
}
