package process

import (
	"context"
	"io"
	"log/slog"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/obs"
)

// Spec describes a binary.
type Spec struct {
	// Name is the program's name; Summary is one line on what it does.
	Name, Summary string
	// Config are pointers to the structs to fill from the environment before Run or a command is called. The
	// variables of logging and of the admin listener are added by this package.
	Config []any
	// Defaults replace defaults in the tags of Config; see env.Set.
	Defaults map[string]string
	// Run is the service itself; nil for a program that has only commands.
	Run func(ctx context.Context, e *Env) error
	// Commands are called as NAME COMMAND [ARGUMENT]…
	Commands []Command
}

// Command is something a binary does beside its service. An error is printed as "NAME: error" with exit code 1; an
// ExitCode is not printed; flag.ErrHelp is exit code 0; an error that wraps ErrUsage is exit code 2.
type Command struct {
	Name, Summary string
	Run           func(ctx context.Context, e *Env) error
}

// Env is what a service or a command gets from main.
type Env struct {
	Name    string
	Logger  *slog.Logger
	Log     obs.LogConfig
	Metrics prometheus.Registerer
	// Gatherer reads what Metrics has registered.
	Gatherer prometheus.Gatherer
	Health   *obs.Health
	// Args are the arguments behind the command's name.
	Args           []string
	Stdout, Stderr io.Writer
}

// ExitCode is an error that only sets the exit code: everything has been said already.
type ExitCode int

func (c ExitCode) Error() string { return "exit code " + strconv.Itoa(int(c)) }
