// Command storer stores the mail of the log in the database.
package main

import (
	"context"

	"github.com/sluice-mail/sluice/services/internal/process"
	"github.com/sluice-mail/sluice/services/storer"
)

func main() {
	var cfg storer.ProcessConfig
	process.Main(process.Spec{
		Name:    "storer",
		Summary: "stores the log's mail in the database, and purges stored mail from the log",
		Config:  []any{&cfg},
		Run: func(ctx context.Context, e *process.Env) error {
			deps, closeAll, err := cfg.Open(e)
			if err != nil {
				return err
			}
			defer closeAll()
			s, err := storer.New(cfg.Config, deps)
			if err != nil {
				return err
			}
			return s.Run(ctx)
		},
		Commands: []process.Command{
			{Name: "migrate", Summary: "creates or updates the streams and the tables, then exits", Run: cfg.Migrate},
			{Name: "replay", Summary: "stores a range of the log again; see replay -help", Run: cfg.Replay},
		},
	})
}
