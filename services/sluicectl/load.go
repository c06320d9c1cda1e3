package main

import (
	"context"
	"fmt"
	"io"

	"github.com/sluice-mail/sluice/services/internal/load"
	"github.com/sluice-mail/sluice/services/internal/process"
)

func (c *ctl) load(ctx context.Context, e *process.Env) error {
	f := newFlags(e, "load", "[flags]", "Sends generated mail to one SMTP server and records what became of each: the input of `audit --acks`.")
	var cfg load.Config
	cfg.Flags(f.FlagSet)
	if _, err := f.parse(e.Args, 0, 0); err != nil {
		return err
	}
	report, err := load.Run(ctx, cfg, e.Stderr)
	if printErr := f.print(report, func(w io.Writer) { fmt.Fprintln(w, report) }); printErr != nil {
		return printErr
	}
	return err
}
