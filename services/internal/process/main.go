package process

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sluice-mail/sluice/pkg/env"
	"github.com/sluice-mail/sluice/pkg/lifecycle"
	"github.com/sluice-mail/sluice/pkg/obs"
)

// ErrUsage marks an error in the command line.
var ErrUsage = errors.New("wrong usage")

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// Main runs the program and exits.
func Main(spec Spec) {
	os.Exit(program{spec: spec, stdout: os.Stdout, stderr: os.Stderr}.main(os.Args[1:]))
}

// program is a Spec with the world it runs in.
type program struct {
	spec           Spec
	stdout, stderr io.Writer
}

// main chooses what to do and returns the exit code.
func (p program) main(args []string) int {
	word := "run"
	if len(args) > 0 {
		word, args = args[0], args[1:]
	}
	switch {
	case isHelp(word) || (word == "run" && len(args) > 0 && isHelp(args[0])):
		return p.code(p.help(p.stdout))
	case word == "-version" || word == "--version" || word == "version":
		_, err := fmt.Fprintf(p.stdout, "%s %s\n", p.spec.Name, obs.Version())
		return p.code(err)
	case word == "run" && p.spec.Run == nil:
		_ = p.help(p.stderr)
		return exitUsage
	case word == "run" && len(args) > 0:
		return p.code(fmt.Errorf("%w: run takes no arguments, got %q: settings come from the environment, see %s -help", ErrUsage, args, p.spec.Name))
	case word == "run":
		return p.code(p.withSignals(p.serve))
	case word == "healthcheck" && p.spec.Run != nil:
		return p.code(p.healthcheck())
	}
	for _, c := range p.spec.Commands {
		if c.Name == word {
			return p.code(p.withSignals(func(ctx context.Context) error { return p.command(ctx, c, args) }))
		}
	}
	return p.code(fmt.Errorf("%w: unknown command %q; there is: %s", ErrUsage, word, strings.Join(p.words(), ", ")))
}

func isHelp(word string) bool {
	return word == "-help" || word == "--help" || word == "-h" || word == "help"
}

// words are all first words the program knows.
func (p program) words() []string {
	var words []string
	if p.spec.Run != nil {
		words = append(words, "run", "healthcheck")
	}
	for _, c := range p.spec.Commands {
		words = append(words, c.Name)
	}
	return append(words, "-help", "-version")
}

// code says an error in plain words, one line for each part of a joined one, and returns the exit code.
func (p program) code(err error) int {
	var code ExitCode
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &code):
		return int(code)
	}
	for _, line := range strings.Split(err.Error(), "\n") {
		_, _ = fmt.Fprintf(p.stderr, "%s: %s\n", p.spec.Name, line)
	}
	if errors.Is(err, ErrUsage) {
		return exitUsage
	}
	return exitFailed
}

// withSignals runs f with a context that SIGINT and SIGTERM end. A stop they asked for is no failure.
func (p program) withSignals(f func(context.Context) error) error {
	ctx, release := lifecycle.SignalContext(context.Background(), func(s os.Signal) {
		_, _ = fmt.Fprintf(p.stderr, "%s: received %s again: exiting at once\n", p.spec.Name, s)
		os.Exit(exitFailed)
	})
	defer release()
	err := f(ctx)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// healthcheck reads nothing but the admin address, so that it works wherever the service does.
func (p program) healthcheck() error {
	var admin obs.AdminConfig
	if err := (env.Set{Structs: []any{&admin}, Defaults: p.spec.Defaults}).Load(); err != nil {
		return err
	}
	return obs.Healthcheck(context.Background(), admin.Addr)
}
