package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
)

// child is a running server process.
type child struct {
	addr string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
}

// engine is one of the servers that are compared.
type engine struct {
	name    string
	program string // an smtpbench
	serve   string // its -engine
}

// engines are ours, go-smtp, and ours in each of others, comma-separated programs built from other revisions.
func engines(others string) ([]engine, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	list := []engine{{"sluice", self, "sluice"}, {"go-smtp", self, "go-smtp"}}
	for program := range strings.SplitSeq(others, ",") {
		if program != "" {
			list = append(list, engine{filepath.Base(program), bench.Path(program), "sluice"})
		}
	}
	return list, nil
}

func (e engine) start(ctx context.Context, args ...string) (*child, error) {
	cmd := exec.CommandContext(ctx, e.program, append([]string{"serve", "-engine", e.serve}, args...)...)
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
		return nil, fmt.Errorf("starting the server process: %w", err)
	}
	c := &child{cmd: cmd, in: in, out: bufio.NewReader(out)}
	addr, err := c.out.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("the server process ended before it listened: %w", err)
	}
	c.addr = strings.TrimSpace(addr)
	return c, nil
}

// ask sends a command and returns what the process has used.
func (c *child) ask(command string) (u usage, err error) {
	if _, err := fmt.Fprintln(c.in, command); err != nil {
		return u, err
	}
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		return u, fmt.Errorf("asking the server process: %w", err)
	}
	return u, json.Unmarshal(line, &u)
}

// stop ends the process.
func (c *child) stop() error {
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
