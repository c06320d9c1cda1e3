package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
)

// child is a running server process.
type child struct{ *bench.Child }

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

func (e engine) start(ctx context.Context, args ...string) (child, error) {
	c, err := bench.StartChild(ctx, e.program, append([]string{"serve", "-engine", e.serve}, args...)...)
	return child{c}, err
}

// ask sends a command and returns what the process has used.
func (c child) ask(command string) (u usage, err error) {
	if _, err := fmt.Fprintln(c.In, command); err != nil {
		return u, err
	}
	line, err := c.Out.ReadBytes('\n')
	if err != nil {
		return u, fmt.Errorf("asking the server process: %w", err)
	}
	return u, json.Unmarshal(line, &u)
}
