package process

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-mail/sluice/pkg/env"
)

// programVar makes the test binary be the program under test: exit codes and signals need a process of their own.
const programVar = "PROCESS_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programVar) != "" {
		Main(testSpec())
	}
	os.Exit(m.Run())
}

type testConfig struct {
	Domains env.List `envconfig:"INGRESS_DOMAINS" required:"true" desc:"accepted domains: example.com,*.example.net, or *"`
	Addr    env.Addr `envconfig:"INGRESS_ADDR" default:":2525" desc:"plain SMTP"`
	DSN     string   `envconfig:"MYSQL_DSN" default:"sluice:sluice@tcp(127.0.0.1:3306)/sluice" desc:"the database"`
	Key     string   `envconfig:"NATS_CREDS" secret:"true" desc:"a secret"`
	End     string   `envconfig:"TEST_END" default:"signal" oneof:"signal never fail done" desc:"how the service ends"`
}

// testSpec is a program with one service and a few commands.
func testSpec() Spec {
	var cfg testConfig
	return Spec{
		Name:     "program",
		Summary:  "takes mail for a test",
		Config:   []any{&cfg},
		Defaults: map[string]string{"INGRESS_ADDR": ":2526"},
		Run:      func(ctx context.Context, e *Env) error { return serveTest(ctx, e, cfg) },
		Commands: []Command{
			{"replay", "read the log again", func(_ context.Context, e *Env) error {
				_, err := fmt.Fprintf(e.Stdout, "%s %q\n", cfg.Domains, e.Args)
				return err
			}},
			{"exit", "end with exit code 3", func(context.Context, *Env) error { return ExitCode(3) }},
			{"flags", "parse flags", func(_ context.Context, e *Env) error {
				flags := flag.NewFlagSet("flags", flag.ContinueOnError)
				flags.SetOutput(e.Stderr)
				flags.Bool("dry-run", false, "only say what would be done")
				return flags.Parse(e.Args)
			}},
			{"wrong", "fail in two ways", func(context.Context, *Env) error {
				return errors.Join(errors.New("one thing"), fmt.Errorf("%w: another thing", ErrUsage))
			}},
		},
	}
}

func serveTest(ctx context.Context, e *Env, cfg testConfig) error {
	e.Health.Register("service", func(context.Context) error {
		if ctx.Err() != nil {
			return errors.New("draining")
		}
		return nil
	})
	e.Logger.Info("serving", "domains", cfg.Domains.String())
	switch cfg.End {
	case "fail":
		return errors.New("opening the log: no such log")
	case "done":
		return nil
	case "never":
		<-ctx.Done()
		e.Logger.Info("hanging")
		select {}
	}
	<-ctx.Done()
	return ctx.Err()
}

// command prepares the program with these variables and nothing else in its environment.
func command(t *testing.T, vars []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append([]string{programVar + "=1", "PATH=" + os.Getenv("PATH"), "LOG_FORMAT=json"}, vars...)
	return cmd
}

// run runs the program to its end.
func run(t *testing.T, vars []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := command(t, vars, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func TestHelp(t *testing.T) {
	golden, err := os.ReadFile(filepath.Join("testdata", "help.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"-help"}, {"--help"}, {"-h"}, {"help"}, {"run", "-help"}} {
		code, stdout, stderr := run(t, nil, args...)
		if code != 0 || stdout != string(golden) || stderr != "" {
			t.Errorf("%v: exit code %d, standard error %q, standard output\n%s", args, code, stderr, stdout)
		}
	}
}

func TestVersion(t *testing.T) {
	for _, arg := range []string{"-version", "--version", "version"} {
		code, stdout, stderr := run(t, nil, arg)
		if code != 0 || !strings.HasPrefix(stdout, "program ") || !strings.Contains(stdout, "go1.") || stderr != "" {
			t.Errorf("%s: exit code %d, %q, %q", arg, code, stdout, stderr)
		}
	}
}

func TestErrorsSayWhatIsWrong(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	domains := "INGRESS_DOMAINS=example.com"
	for _, tc := range []struct {
		name   string
		vars   []string
		args   []string
		code   int
		stderr string
	}{
		{"missing variable", nil, nil, 1,
			"program: INGRESS_DOMAINS (accepted domains: example.com,*.example.net, or *) is required but not set; allowed: a list separated by commas\n"},
		{"all at once", []string{"INGRESS_ADDR=2525", "LOG_LEVEL=loud", "INGRESS_DOMAIN=example.com", "ADMIN_ADDR=:x"}, nil, 1,
			"program: INGRESS_DOMAINS (accepted domains: example.com,*.example.net, or *) is required but not set; allowed: a list separated by commas\n" +
				"program: INGRESS_ADDR=\"2525\" is not host:port; allowed: host:port or :port, or off\n" +
				"program: LOG_LEVEL=\"loud\" is none of the allowed values; allowed: debug or info or warn or error\n" +
				"program: INGRESS_DOMAIN is not a known variable; did you mean INGRESS_DOMAINS?\n"},
		{"unknown command", []string{domains}, []string{"serve"}, 2,
			"program: wrong usage: unknown command \"serve\"; there is: run, healthcheck, replay, exit, flags, wrong, -help, -version\n"},
		{"arguments of run", []string{domains}, []string{"run", "--addr", ":25"}, 2,
			"program: wrong usage: run takes no arguments, got [\"--addr\" \":25\"]: settings come from the environment, see program -help\n"},
		{"admin address taken", []string{domains, "ADMIN_ADDR=" + taken.Addr().String()}, nil, 1,
			"program: opening the admin listener, ADMIN_ADDR=\"" + taken.Addr().String() + "\": listen tcp " + taken.Addr().String() +
				": bind: address already in use; allowed: a free host:port, or off\n"},
		{"profiles for everybody", []string{domains, "ADMIN_ADDR=off", "DEBUG_ADDR=:6060"}, nil, 1,
			"program: DEBUG_ADDR=\":6060\": profiles are only served on a loopback address; allowed: 127.0.0.1:6060, off\n"},
		{"service fails", []string{domains, "ADMIN_ADDR=127.0.0.1:0", "TEST_END=fail"}, nil, 1, "program: opening the log: no such log\n"},
		{"service ends", []string{domains, "ADMIN_ADDR=127.0.0.1:0", "TEST_END=done"}, []string{"run"}, 0, ""},
		{"command with a wrong variable", nil, []string{"replay"}, 1,
			"program: INGRESS_DOMAINS (accepted domains: example.com,*.example.net, or *) is required but not set; allowed: a list separated by commas\n"},
		{"two errors", []string{domains}, []string{"wrong"}, 2, "program: one thing\nprogram: wrong usage: another thing\n"},
		{"silent exit code", []string{domains}, []string{"exit"}, 3, ""},
		{"nobody to check", []string{"ADMIN_ADDR=off"}, []string{"healthcheck"}, 1, "program: ADMIN_ADDR=\"off\" cannot be asked: it is not host:port\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, stdout, stderr := run(t, tc.vars, tc.args...)
			if code != tc.code || stderr != tc.stderr {
				t.Errorf("exit code %d, want %d; standard error\n%s\nwant\n%s\nstandard output\n%s", code, tc.code, stderr, tc.stderr, stdout)
			}
		})
	}
}

func TestCommandsAnswerOnStandardOutput(t *testing.T) {
	code, stdout, stderr := run(t, []string{"INGRESS_DOMAINS=example.com", "INGRESS_NONSENSE=1"}, "replay", "--since", "1h")
	if code != 0 || stdout != "example.com [\"--since\" \"1h\"]\n" {
		t.Errorf("exit code %d, standard output %q", code, stdout)
	}
	if strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "INGRESS_NONSENSE is not a known variable") {
		t.Errorf("standard error %q", stderr)
	}
}

// TestHelpOfACommandNeedsNoConfiguration: who asks for help may not have one yet.
func TestHelpOfACommandNeedsNoConfiguration(t *testing.T) {
	code, _, stderr := run(t, nil, "flags", "-help")
	if code != 0 || !strings.Contains(stderr, "dry-run") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

func TestProgramWithoutServiceShowsItsHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	spec := testSpec()
	spec.Run = nil
	p := program{spec: spec, stdout: &stdout, stderr: &stderr}
	if code := p.main(nil); code != 2 || stdout.Len() != 0 || !strings.Contains(stderr.String(), "program replay") {
		t.Errorf("exit code %d, %q", code, &stderr)
	}
	for _, not := range []string{"healthcheck", "ADMIN_ADDR", "[run]"} {
		if strings.Contains(stderr.String(), not) {
			t.Errorf("its help mentions %s:\n%s", not, &stderr)
		}
	}
	stderr.Reset()
	if code := p.main([]string{"healthcheck"}); code != 2 || !strings.Contains(stderr.String(), "unknown command") {
		t.Errorf("healthcheck of a program without service: exit code %d, %q", code, &stderr)
	}
}
