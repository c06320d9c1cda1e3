// Package fleet runs the whole of Sluice as users do: every service in its own process, with a real nats-server,
// MariaDB and memcached, on free loopback ports, in one temporary directory. The end-to-end tests, the chaos runs and
// the benchmarks use it to kill, freeze and restart the processes.
package fleet

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Binaries are the built programs.
type Binaries struct{ dir string }

// Path of one program: ingress, storer, cachewarmer, mailbox, allinone, sluicectl or nats-server.
func (b Binaries) Path(name string) string { return filepath.Join(b.dir, name) }

// Build builds the services and nats-server into dir, from the checkout that holds the current directory. flags are
// for `go build` of the services.
func Build(dir string, flags ...string) (Binaries, error) {
	root, err := Root()
	if err != nil {
		return Binaries{}, err
	}
	b := Binaries{dir: dir}
	args := append([]string{"build", "-o", dir + "/"}, flags...)
	if err := run(filepath.Join(root, "services"), append(args, "./ingress/cmd/ingress", "./storer/cmd/storer",
		"./cachewarmer/cmd/cachewarmer", "./mailbox/cmd/mailbox", "./allinone", "./sluicectl")...); err != nil {
		return b, err
	}
	return b, run(filepath.Join(root, "pkg"), "build", "-o", b.Path("nats-server"), "github.com/nats-io/nats-server/v2")
}

// Root is the top of the checkout that holds the current directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("not inside a checkout of Sluice: no go.work in any directory above")
		}
		dir = parent
	}
}

// run runs the go command in a module by itself, so that the workspace of the caller does not matter.
func run(dir string, args ...string) error {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out.String())
	}
	return nil
}
