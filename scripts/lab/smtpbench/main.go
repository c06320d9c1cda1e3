// Command smtpbench measures the SMTP engine beside go-smtp, the best SMTP server library for Go, on the same
// load in the same run. The servers are child processes of their own, so that what is measured is only theirs.
//
//	smtpbench idle   -n 15000 -tls-n 5000     resident bytes per idle connection
//	smtpbench engine -rounds 3                CPU per mail into a sink that throws it away
//	smtpbench serve  -engine sluice|go-smtp   the child
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "smtpbench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("usage: smtpbench idle|engine|serve [flags]")
	}
	switch args[0] {
	case "idle":
		return runIdle(ctx, args[1:])
	case "engine":
		return runEngine(ctx, args[1:])
	case "serve":
		return runServe(args[1:])
	}
	return fmt.Errorf("no subcommand %q", args[0])
}
