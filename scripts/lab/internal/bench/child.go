package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Child is a server in a process of its own: it prints its address as its first line, and ends with its standard input.
type Child struct {
	Addr string
	In   io.Writer
	Out  *bufio.Reader

	cmd *exec.Cmd
	in  io.Closer
}

// StartChild starts a program and waits until it listens.
func StartChild(ctx context.Context, program string, args ...string) (*Child, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the server process %q: %w", args, err)
	}
	c := &Child{In: in, Out: bufio.NewReader(out), cmd: cmd, in: in}
	addr, err := c.Out.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("the server process %q ended before it listened: %w", args, err)
	}
	c.Addr = strings.TrimSpace(addr)
	return c, nil
}

// PID is the id of its process.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Stop ends the process.
func (c *Child) Stop() error {
	_ = c.in.Close()
	done := make(chan error, 1)
	go func() { done <- c.cmd.Wait() }()
	select {
	case err := <-done:
		return err
	case <-time.After(10 * time.Second):
		_ = c.cmd.Process.Kill()
		return <-done
	}
}
