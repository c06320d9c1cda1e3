// Package server runs a real nats-server process for measurements and fault tests: built from the module that
// pkg/go.mod names, on free loopback ports, stopped by its own process id.
package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

// Build builds nats-server into dir and returns its path.
func Build(ctx context.Context, dir string) (string, error) {
	where, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/sluice-mail/sluice/pkg").Output()
	if err != nil {
		return "", fmt.Errorf("finding the module pkg (run this in scripts/lab): %w", err)
	}
	binary := filepath.Join(dir, "nats-server")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/nats-io/nats-server/v2")
	cmd.Dir = strings.TrimSpace(string(where))
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building nats-server: %w\n%s", err, out)
	}
	return binary, nil
}

// Options says how to run the server.
type Options struct {
	Binary string
	// Store is the JetStream directory; a name server.conf beside it is used for the configuration.
	Store string
	// SyncAlways is sync_interval: always.
	SyncAlways bool
	// Wrap is put before the command, for strace; {store} in it becomes Store.
	Wrap []string
	// URL and Monitor are where to listen; empty: on free ports.
	URL, Monitor string

	cluster string // the part of the configuration that makes it a member of a Cluster
}

// Server is a running nats-server.
type Server struct {
	URL     string
	Monitor string
	PID     int // of nats-server, not of what wraps it
	cmd     *exec.Cmd
}

// Start returns when JetStream is up.
func Start(ctx context.Context, o Options) (*Server, error) {
	s := &Server{URL: o.URL, Monitor: o.Monitor}
	for _, where := range []struct {
		url    *string
		scheme string
	}{{&s.URL, "nats"}, {&s.Monitor, "http"}} {
		if *where.url == "" {
			*where.url = where.scheme + "://" + fleet.FreeAddr()
		}
	}
	interval := `"2m"`
	if o.SyncAlways {
		interval = "always"
	}
	pidFile := o.Store + ".pid"
	_ = os.Remove(pidFile)
	conf := fmt.Sprintf("listen: %q\nhttp: %q\npid_file: %q\njetstream { store_dir: %q, max_file_store: 20GB, sync_interval: %s }\n%s",
		strings.TrimPrefix(s.URL, "nats://"), strings.TrimPrefix(s.Monitor, "http://"), pidFile, o.Store, interval, o.cluster)
	confFile := o.Store + ".conf"
	if err := os.WriteFile(confFile, []byte(conf), 0o600); err != nil {
		return nil, fmt.Errorf("writing the server's configuration: %w", err)
	}
	var args []string
	for _, word := range o.Wrap {
		args = append(args, strings.ReplaceAll(word, "{store}", o.Store))
	}
	args = append(args, o.Binary, "-c", confFile, "-l", o.Store+".log")
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Stderr = os.Stderr
	if len(o.Wrap) == 0 {
		// It must not outlive whoever measures it. (strace would end and leave it.)
		s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", strings.Join(args, " "), err)
	}
	if err := s.waitHealthy(ctx, pidFile); err != nil {
		s.Stop()
		return nil, fmt.Errorf("%w; see %s.log", err, o.Store)
	}
	return s, nil
}

func (s *Server) waitHealthy(ctx context.Context, pidFile string) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if pid, err := os.ReadFile(pidFile); err == nil {
			_, _ = fmt.Sscan(string(pid), &s.PID)
		}
		// A store with damage must start, too: not the deep check.
		if resp, err := http.Get(s.Monitor + "/healthz?js-enabled-only=true"); err == nil {
			ok := resp.StatusCode == http.StatusOK
			_ = resp.Body.Close()
			if ok && s.PID > 0 {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for nats-server: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// Stop ends the server in an orderly way and waits for it and its wrapper.
func (s *Server) Stop() {
	s.signal(syscall.SIGTERM)
	_ = s.cmd.Wait()
}

// Kill ends the server at once.
func (s *Server) Kill() {
	s.signal(syscall.SIGKILL)
	_ = s.cmd.Wait()
}

func (s *Server) signal(sig syscall.Signal) {
	if s.PID > 0 {
		_ = syscall.Kill(s.PID, sig)
		return
	}
	_ = s.cmd.Process.Signal(sig)
}

// CPU is the processor time the server has used.
func (s *Server) CPU() time.Duration {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.PID))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	var user, system int64
	_, _ = fmt.Sscan(fields[11], &user)
	_, _ = fmt.Sscan(fields[12], &system)
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100 on Linux
}

// Version asks the server.
func (s *Server) Version() string {
	resp, err := http.Get(s.Monitor + "/varz")
	if err != nil {
		return "unknown"
	}
	defer resp.Body.Close()
	var v struct{ Version string }
	_ = json.NewDecoder(resp.Body).Decode(&v)
	return v.Version
}
