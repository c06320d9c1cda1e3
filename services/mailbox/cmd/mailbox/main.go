// Command mailbox shows stored mail over HTTP: the inbox and its API.
package main

import (
	"context"

	"github.com/sluice-mail/sluice/services/internal/process"
	"github.com/sluice-mail/sluice/services/mailbox"
)

func main() {
	var cfg mailbox.ProcessConfig
	process.Main(process.Spec{
		Name:    "mailbox",
		Summary: "shows stored mail over HTTP: the inbox and its API",
		Config:  []any{&cfg},
		Run: func(ctx context.Context, e *process.Env) error {
			deps, closeAll, err := cfg.Open(e)
			if err != nil {
				return err
			}
			defer closeAll()
			s, err := mailbox.New(cfg.Config, deps)
			if err != nil {
				return err
			}
			return s.Run(ctx)
		},
	})
}
