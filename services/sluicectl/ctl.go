package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/services/internal/database"
	"github.com/sluice-mail/sluice/services/internal/logconn"
	"github.com/sluice-mail/sluice/services/internal/process"
	"github.com/sluice-mail/sluice/services/internal/reading"
)

// connectWait is how long a command waits for the log. It is short, because somebody is waiting for the answer.
const connectWait = 10 * time.Second

// config is what the commands need to find log, database and cache.
type config struct {
	Log      logconn.Config
	Database database.Config
	Write    database.WriteConfig
	Shape    stream.Shape
	Naming   reading.Naming
	Secret   string `envconfig:"MAILBOX_SECRET" secret:"true" desc:"secret that signs tokens; for token"`
	Cache    struct {
		Addrs []string `envconfig:"MEMCACHED_ADDRS" default:"127.0.0.1:11211" desc:"Memcached servers, comma-separated; for trace and rm"`
	}
}

// ctl holds what all commands share.
type ctl struct{ cfg config }

// connect connects to the log, and waits until that has succeeded.
func (c *ctl) connect(ctx context.Context, e *process.Env) (*nats.Conn, error) {
	conn, err := logconn.Connect(c.cfg.Log, "sluicectl", e.Logger)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	for !conn.IsConnected() {
		select {
		case <-ctx.Done():
			conn.Close()
			return nil, errors.New("the log cannot be reached; check NATS_URL, or SLUICE_DATA when an allinone runs there")
		case <-time.After(20 * time.Millisecond):
		}
	}
	return conn, nil
}

// store returns the database, for reading.
func (c *ctl) store(e *process.Env) (mailstore.Store, error) {
	return database.Open(c.cfg.Database, c.cfg.Write, c.cfg.Log.Dir, true, e.Logger, e.Metrics)
}

// flags are the flags of one command; every command has --json.
type flags struct {
	*flag.FlagSet
	json bool
	out  io.Writer
}

func newFlags(e *process.Env, name, usage, about string) *flags {
	f := &flags{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError), out: e.Stdout}
	f.BoolVar(&f.json, "json", false, "print JSON instead of text")
	f.SetOutput(io.Discard)
	f.Usage = func() {
		fmt.Fprintf(e.Stdout, "usage: sluicectl %s %s\n\n%s\n\n", name, usage, about)
		f.SetOutput(e.Stdout)
		f.PrintDefaults()
	}
	return f
}

// parse reads args, and leaves between min and max arguments that are not flags. Flags may follow arguments.
func (f *flags) parse(args []string, min, max int) ([]string, error) {
	var rest []string
	for {
		if err := f.FlagSet.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, fmt.Errorf("%w: %w; see sluicectl %s -help", process.ErrUsage, err, f.Name())
		}
		if f.NArg() == 0 {
			break
		}
		rest, args = append(rest, f.Arg(0)), f.Args()[1:]
	}
	if len(rest) < min || len(rest) > max {
		return nil, fmt.Errorf("%w: got %d arguments; see sluicectl %s -help", process.ErrUsage, len(rest), f.Name())
	}
	return rest, nil
}

// print writes v as JSON when asked to, else what text writes into a table.
func (f *flags) print(v any, text func(w io.Writer)) error {
	if f.json {
		enc := json.NewEncoder(f.out)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	w := tabwriter.NewWriter(f.out, 0, 0, 2, ' ', 0)
	text(w)
	return w.Flush()
}

func parseID(text string) (ulid.ULID, error) {
	id, err := ulid.ParseStrict(text)
	if err != nil {
		return id, fmt.Errorf("%w: %q is not the id of a mail: 26 characters, as in the 250 reply", process.ErrUsage, text)
	}
	return id, nil
}

// size writes a number of bytes in the largest unit that leaves 1 or more.
func size(n int64) string {
	for _, unit := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= unit.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.size), unit.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}
