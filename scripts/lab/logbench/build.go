package main

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

// source is the sender, and what takes the place of its publisher.go in revisions that had no sender.
//
//go:embed sender/*.go before/*.txt
var source embed.FS

// programs are the built senders.
type programs struct{ now, before string }

func build(ctx context.Context, s settings) (p programs, err error) {
	root, err := fleet.Root()
	if err != nil {
		return p, err
	}
	bench.Progress("building the sender")
	p.now = filepath.Join(s.dir, "sender")
	if err := buildSender(ctx, root, p.now); err != nil || s.before == "" {
		return p, err
	}
	bench.Progress("building the sender of %s", s.before)
	p.before = filepath.Join(s.dir, "sender-before")
	return p, buildBefore(ctx, root, s, p)
}

// buildBefore builds the sender in a checkout of the older revision, which is gone again afterwards.
func buildBefore(ctx context.Context, root string, s settings, p programs) (err error) {
	commit, err := command(ctx, root, "git", "rev-parse", "--verify", "--quiet", "--end-of-options", s.before+"^{commit}")
	if err != nil {
		return fmt.Errorf("-before %s: no such revision", s.before)
	}
	tree := filepath.Join(s.dir, "before")
	if _, err := command(ctx, root, "git", "worktree", "add", "--detach", tree, commit); err != nil {
		return fmt.Errorf("-before %s: %w", s.before, err)
	}
	defer func() {
		// Even when the run was interrupted: the repository would remember the checkout.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if _, undo := command(ctx, root, "git", "worktree", "remove", "--force", tree); undo != nil && err == nil {
			err = undo
		}
	}()
	if _, err := os.Stat(filepath.Join(tree, senderDir)); err != nil {
		if err := plant(filepath.Join(tree, senderDir)); err != nil {
			return err
		}
	}
	if err := buildSender(ctx, tree, p.before); err != nil {
		return fmt.Errorf("-before %s: %w", s.before, err)
	}
	return sameProtocol(ctx, s, p)
}

// senderDir is where the sender is, from the top of a checkout.
const senderDir = "scripts/lab/logbench/sender"

// plant puts the present sender into a checkout that has none, with the publisher's old interface.
func plant(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	files, err := fs.Glob(source, "sender/*.go")
	if err != nil {
		return err
	}
	for _, from := range append(files, "before/publisher.go.txt") {
		name := strings.TrimSuffix(filepath.Base(from), ".txt")
		if from == "sender/publisher.go" || from == "sender/others.go" {
			continue // both speak with pkg/stream as it is today
		}
		text, err := source.ReadFile(from)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func buildSender(ctx context.Context, root, binary string) error {
	_, err := command(ctx, filepath.Join(root, "scripts", "lab"), "go", "build", "-o", binary, "./logbench/sender")
	return err
}

// sameProtocol makes sure that the older sender is driven, and counts, as the present one.
func sameProtocol(ctx context.Context, s settings, p programs) error {
	now, err := command(ctx, "", p.now, "-protocol")
	if err != nil {
		return err
	}
	before, err := command(ctx, "", p.before, "-protocol")
	if err != nil || before != now {
		return fmt.Errorf("-before %s: its sender cannot be compared with the present one (%q, not %q)", s.before, before, now)
	}
	return nil
}

// command runs one command and returns its output without the last line break.
func command(ctx context.Context, dir, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", filepath.Base(program), strings.Join(args, " "), err, problems.String())
	}
	return strings.TrimSpace(out.String()), nil
}
