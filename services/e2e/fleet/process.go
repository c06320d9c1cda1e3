package fleet

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is one program that can be started again and again, with the same arguments and environment. Its output is
// appended to one log file.
type Process struct {
	Name string
	// Addrs are what it listens on, by purpose: smtp, admin, client, monitor.
	Addrs map[string]string
	path  string
	args  []string
	env   []string
	log   string

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
	exit error
}

// Start starts the process; it does not wait for it to be ready.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil && !p.ended() {
		return fmt.Errorf("%s runs already", p.Name)
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.path, p.args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(cleanEnvironment(), p.env...)
	cmd.SysProcAttr = apart()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.Name, err)
	}
	done := make(chan struct{})
	p.cmd, p.done = cmd, done
	go func() {
		err := cmd.Wait()
		p.mu.Lock()
		p.exit = err
		p.mu.Unlock()
		close(done)
	}()
	return nil
}

// cleanEnvironment is ours without what would configure a service.
func cleanEnvironment() []string {
	var env []string
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		prefix, _, _ := strings.Cut(name, "_")
		switch prefix {
		case "INGRESS", "STREAM", "STORER", "CACHE", "MAILBOX", "SLUICE", "NATS", "MYSQL", "MEMCACHED", "ADMIN", "LOG", "DEBUG":
		default:
			env = append(env, pair)
		}
	}
	return env
}

func (p *Process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Running says whether the process is there, frozen or not.
func (p *Process) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd != nil && !p.ended()
}

// PID of the process that was started last.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Done is closed when the process that was started last has ended.
func (p *Process) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// ExitCode of the process that ended last; -1 when a signal ended it.
func (p *Process) ExitCode() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	exit := (*exec.ExitError)(nil)
	if errors.As(p.exit, &exit) {
		return exit.ExitCode()
	}
	return 0
}

// Signal sends a signal to a process that runs.
func (p *Process) Signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil || p.ended() {
		return fmt.Errorf("%s does not run", p.Name)
	}
	return p.cmd.Process.Signal(sig)
}

// Pause freezes the process: its connections stay open, and nothing answers.
func (p *Process) Pause() error { return p.Signal(syscall.SIGSTOP) }

// Resume undoes Pause.
func (p *Process) Resume() error { return p.Signal(syscall.SIGCONT) }

// Kill ends the process as a crash would, and waits for its end.
func (p *Process) Kill() error { return p.end(syscall.SIGKILL, 10*time.Second) }

// Stop asks the process to end and waits for that.
func (p *Process) Stop(patience time.Duration) error { return p.end(syscall.SIGTERM, patience) }

func (p *Process) end(sig syscall.Signal, patience time.Duration) error {
	if !p.Running() {
		return nil
	}
	done := p.Done()
	if err := p.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) && p.Running() {
		return err
	}
	select {
	case <-done:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("%s is still there %s after %s", p.Name, patience, sig)
	}
}

// Log is what the process has printed so far, over all its starts.
func (p *Process) Log() string {
	out, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// CPU is the time the process has used, user and system.
func (p *Process) CPU() (time.Duration, error) { return CPU(p.PID()) }

// CPU is the time a process has used, user and system, all its threads.
func CPU(pid int) (time.Duration, error) {
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	// proc(5): the name in parentheses may hold spaces; utime and stime are fields 14 and 15, in ticks of 10 ms.
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat is too short", pid)
	}
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}
