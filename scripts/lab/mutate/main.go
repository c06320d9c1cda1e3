// Command mutate changes the code for the worse, one change at a time, and wants the named tests to notice each of them. A
// change that nobody notices is a promise that no test keeps.
//
// A list has blocks like this one; lines are separated by the block's first line, and what is to be changed must be there
// exactly once:
//
//	# what goes wrong
//	file pkg/stream/internal/settle/trial.go
//	test ./pkg/stream/internal/settle ^TestKiller
//	-const foundPoison = 2
//	+const foundPoison = 1
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
)

func main() {
	run := flag.String("run", "", "only mutations with this in their name")
	check := flag.Bool("check", false, "run no tests: only say whether what is to be changed is there")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	missed, err := mutateAll(ctx, *run, *check, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(2)
	}
	if missed > 0 {
		fmt.Fprintf(os.Stderr, "mutate: %d changes went unnoticed\n", missed)
		os.Exit(1)
	}
}

func mutateAll(ctx context.Context, name string, check bool, lists []string) (missed int, err error) {
	if len(lists) == 0 {
		if lists, err = filepath.Glob("mutate/*.txt"); err != nil {
			return 0, err
		}
	}
	var all []mutation
	for _, list := range lists {
		some, err := read(list)
		if err != nil {
			return 0, err
		}
		for _, m := range some {
			if strings.Contains(m.name, name) {
				all = append(all, m)
			}
		}
	}
	if check {
		var errs []error
		for _, m := range all {
			_, _, err := m.apply(filepath.Join("..", ".."))
			errs = append(errs, err)
		}
		return 0, errors.Join(errs...)
	}
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	tree := filepath.Join(dir, "tree")
	if _, err := command(ctx, ".", "git", "worktree", "add", "--detach", tree, "HEAD"); err != nil {
		return 0, err
	}
	defer func() {
		_, _ = command(context.WithoutCancel(ctx), ".", "git", "worktree", "remove", "--force", tree)
	}()
	if err := pass(ctx, tree, all); err != nil {
		return 0, err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, m := range all {
		start := time.Now()
		noticed, by, err := m.try(ctx, tree)
		if err != nil {
			return missed, err
		}
		word := "noticed"
		if !noticed {
			word = "UNNOTICED"
			missed++
		}
		fmt.Fprintf(table, "%s\t%s\t%.1fs\t%s\n", word, m.name, time.Since(start).Seconds(), by)
		table.Flush()
	}
	return missed, nil
}

// mutation is one change, and the tests that should notice it.
type mutation struct {
	name, file, pkg, tests string
	old, new               []string
}

func read(list string) (all []mutation, err error) {
	text, err := os.ReadFile(list)
	if err != nil {
		return nil, err
	}
	for number, line := range strings.Split(string(text), "\n") {
		name, isName := strings.CutPrefix(line, "# ")
		if isName {
			all = append(all, mutation{name: name})
			continue
		}
		if line == "" {
			continue
		}
		if len(all) == 0 {
			return nil, fmt.Errorf("%s:%d: before the first name", list, number+1)
		}
		m := &all[len(all)-1]
		switch fields := strings.Fields(line); {
		case line[0] == '-':
			m.old = append(m.old, line[1:])
		case line[0] == '+':
			m.new = append(m.new, line[1:])
		case fields[0] == "file" && len(fields) == 2:
			m.file = fields[1]
		case fields[0] == "test" && len(fields) == 3:
			m.pkg, m.tests = fields[1], fields[2]
		default:
			return nil, fmt.Errorf("%s:%d: not understood: %s", list, number+1, line)
		}
	}
	for _, m := range all {
		if m.file == "" || m.pkg == "" || len(m.old) == 0 {
			return nil, fmt.Errorf("%s: %s: it needs file, test and what is to be changed", list, m.name)
		}
	}
	return all, nil
}

// pass wants the tests to pass as long as nothing is changed: else all of them would notice everything.
func pass(ctx context.Context, tree string, all []mutation) error {
	passed := make(map[string]bool)
	for _, m := range all {
		if key := m.pkg + " " + m.tests; !passed[key] {
			if _, err := command(ctx, tree, "go", "test", "-count=1", "-timeout=120s", "-run", m.tests, m.pkg); err != nil {
				return fmt.Errorf("without any change: %w", err)
			}
			passed[key] = true
		}
	}
	return nil
}

// apply is the file as it is in a tree, and with the change.
func (m mutation) apply(tree string) (text, changed []byte, err error) {
	if text, err = os.ReadFile(filepath.Join(tree, m.file)); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", m.name, err)
	}
	before, after := []byte(strings.Join(m.old, "\n")), []byte(strings.Join(m.new, "\n"))
	if n := bytes.Count(text, before); n != 1 {
		return nil, nil, fmt.Errorf("%s: what is to be changed in %s is there %d times", m.name, m.file, n)
	}
	return text, bytes.Replace(text, before, after, 1), nil
}

// try makes the change, runs the tests and takes it back. by is the first test that failed.
func (m mutation) try(ctx context.Context, tree string) (noticed bool, by string, err error) {
	path := filepath.Join(tree, m.file)
	text, changed, err := m.apply(tree)
	if err != nil {
		return false, "", err
	}
	if err := os.WriteFile(path, changed, 0o644); err != nil {
		return false, "", err
	}
	defer func() {
		if werr := os.WriteFile(path, text, 0o644); err == nil {
			err = werr
		}
	}()
	if out, err := command(ctx, tree, "go", "vet", m.pkg); err != nil {
		return false, "", fmt.Errorf("%s: it does not compile: %s", m.name, out)
	}
	out, failed := command(ctx, tree, "go", "test", "-count=1", "-timeout=120s", "-run", m.tests, m.pkg)
	if ctx.Err() != nil {
		return false, "", ctx.Err()
	}
	for line := range strings.Lines(out) {
		if test, ok := strings.CutPrefix(strings.TrimSpace(line), "--- FAIL: "); ok {
			by, _, _ = strings.Cut(test, " ")
			break
		}
	}
	if failed != nil && by == "" {
		by = "it ended in another way"
	}
	if failed == nil && strings.Contains(out, "no tests to run") {
		return false, "", fmt.Errorf("%s: there is no test %s in %s", m.name, m.tests, m.pkg)
	}
	return failed != nil, by, nil
}

func command(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "GOWORK=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out), err
}
