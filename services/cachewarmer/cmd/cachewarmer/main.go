// Command cachewarmer fills Memcached from the log.
package main

import (
	"context"

	"github.com/sluice-mail/sluice/services/cachewarmer"
	"github.com/sluice-mail/sluice/services/internal/process"
)

func main() {
	var cfg cachewarmer.ProcessConfig
	process.Main(process.Spec{
		Name:    "cachewarmer",
		Summary: "fills Memcached from the log",
		Config:  []any{&cfg},
		Run: func(ctx context.Context, e *process.Env) error {
			deps, closeAll, err := cfg.Open(e)
			if err != nil {
				return err
			}
			defer closeAll()
			s, err := cachewarmer.New(deps)
			if err != nil {
				return err
			}
			return s.Run(ctx)
		},
		Commands: []process.Command{
			{Name: "replay", Summary: "fills the cache from a range of the log; see replay -help", Run: cfg.Replay},
		},
	})
}
