package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/sluice-mail/sluice/pkg/env"
	"github.com/sluice-mail/sluice/pkg/lifecycle"
	"github.com/sluice-mail/sluice/pkg/obs"
)

// settings are the variables every service has.
type settings struct {
	Admin obs.AdminConfig
	Log   obs.LogConfig
}

// listenerStop bounds how long the admin and debug listeners may take to close.
const listenerStop = 3 * time.Second

// serve runs the service with its admin listener. The listener outlives the service: while that drains, /readyz must
// say so.
func (p program) serve(ctx context.Context) error {
	var common settings
	set := p.set(&common)
	warnings, err := load(set)
	if err != nil {
		return err
	}
	logger, flush := obs.NewBufferedLogger(common.Log, p.stdout)
	defer flush()
	e := p.env(common.Log, logger, nil)
	var group lifecycle.Group
	if err := listen(&group, common.Admin, e); err != nil {
		return err
	}
	if err := logStart(e.Logger, set, warnings); err != nil {
		return err
	}
	group.Add("", 0, func(ctx context.Context) error { return p.spec.Run(ctx, e) })
	err = group.Run(ctx)
	if ctx.Err() != nil {
		e.Logger.Info("stopped", "why", context.Cause(ctx).Error())
	}
	return err
}

// command runs one of the program's own commands: no admin listener, it may run beside the service.
func (p program) command(ctx context.Context, c Command, args []string) error {
	var log obs.LogConfig
	var warnings []string
	if !wantsHelp(args) {
		var err error
		if warnings, err = load(p.set(&log)); err != nil {
			return err
		}
	}
	e := p.env(log, obs.NewLogger(log, p.stderr), args)
	for _, w := range warnings {
		e.Logger.Warn(w)
	}
	return c.Run(ctx, e)
}

// wantsHelp: the help of a command must not depend on a right configuration. The bare word may be an argument.
func wantsHelp(args []string) bool {
	return len(args) > 0 && args[len(args)-1] != "help" && isHelp(args[len(args)-1])
}

func (p program) set(own any) env.Set {
	return env.Set{Structs: append(append([]any{}, p.spec.Config...), own), Defaults: p.spec.Defaults}
}

// load reads the configuration and reports everything that is wrong with it at once.
func load(set env.Set) (warnings []string, err error) {
	warnings, misspelt := env.Unknown(os.Environ(), env.Names())
	return warnings, errors.Join(set.Load(), misspelt)
}

func (p program) env(log obs.LogConfig, logger *slog.Logger, args []string) *Env {
	registry := obs.NewRegistry(p.spec.Name)
	return &Env{
		Name:     p.spec.Name,
		Logger:   logger,
		Log:      log,
		Metrics:  registry,
		Gatherer: registry,
		Health:   obs.NewHealth(),
		Args:     args,
		Stdout:   p.stdout,
		Stderr:   p.stderr,
	}
}

// listen opens the admin and the debug listener and adds their servers to the group.
func listen(group *lifecycle.Group, cfg obs.AdminConfig, e *Env) error {
	if cfg.Addr != "off" && cfg.Addr != "" {
		l, err := net.Listen("tcp", cfg.Addr)
		if err != nil {
			return fmt.Errorf("opening the admin listener, ADMIN_ADDR=%q: %w; allowed: a free host:port, or off", cfg.Addr, err)
		}
		e.Logger.Info("admin listener", "addr", l.Addr().String())
		handler := obs.AdminHandler(e.Health, e.Gatherer)
		group.Add("admin listener", listenerStop, func(ctx context.Context) error { return obs.Serve(ctx, l, handler) })
	}
	if cfg.Debug != "off" && cfg.Debug != "" {
		l, err := obs.ListenDebug(cfg.Debug)
		if err != nil {
			return err
		}
		e.Logger.Info("debug listener", "addr", l.Addr().String())
		group.Add("debug listener", listenerStop, func(ctx context.Context) error { return obs.Serve(ctx, l, obs.DebugHandler()) })
	}
	return nil
}

// logStart records what is running and with which settings, so that a log answers both questions later.
func logStart(logger *slog.Logger, set env.Set, warnings []string) error {
	for _, w := range warnings {
		logger.Warn(w)
	}
	effective, err := set.Effective()
	if err != nil {
		return err
	}
	attrs := make([]any, len(effective))
	for i, s := range effective {
		attrs[i] = slog.String(s.Name, s.Value)
	}
	logger.Info("starting", "version", obs.Version().String(), "cpus", runtime.GOMAXPROCS(0),
		"memory_limit", memoryLimit(), slog.Group("config", attrs...))
	return nil
}

// memoryLimit is what GOMEMLIMIT has set; the Go runtime reads that variable by itself.
func memoryLimit() string {
	const unlimited = 1 << 62
	if limit := debug.SetMemoryLimit(-1); limit < unlimited {
		return env.Bytes(limit).String()
	}
	return "none"
}
