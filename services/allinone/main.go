// Command allinone is the whole pipeline in one process: nothing to install, one directory of data.
//
//	          1 natsd            3 storer ──────▶ 2 SQLite ($SLUICE_DATA/sluice.db)
//	          (the log) ────────▶
//	              ▲              4 cachewarmer ──▶ embedded cache
//	SMTP ──▶ 6 ingress           5 mailbox ◀─────── both of them ──▶ http://localhost:8025
//
// The numbers are the order in which the parts start; they stop in reverse order. The services are the same packages as in
// the separate processes and do not know where they run. To use an external log, database or cache instead of the embedded one,
// set NATS_URL, MYSQL_DSN or MEMCACHED_ADDRS.
package main

import (
	"context"

	"github.com/sluice-mail/sluice/pkg/lifecycle"
	"github.com/sluice-mail/sluice/pkg/stream/consume"
	"github.com/sluice-mail/sluice/services/internal/process"
)

func main() {
	var cfg config
	process.Main(process.Spec{
		Name:     "allinone",
		Summary:  "the whole pipeline in one process: SMTP in, log, database and cache on this machine",
		Config:   []any{&cfg},
		Defaults: defaults(),
		Run:      func(ctx context.Context, e *process.Env) error { return run(ctx, &cfg, e) },
	})
}

// run connects and starts the parts. The group stops in reverse order: first no more mail is accepted, then mail that is under way is
// stored, and the log is closed last.
func run(ctx context.Context, cfg *config, e *process.Env) error {
	p := &parts{cfg: cfg, env: e, turn: consume.NewTurn()}
	defer p.close()
	var group lifecycle.Group
	for _, add := range []func(*lifecycle.Group) error{
		p.directory,
		p.log,
		p.database,
		p.storer,
		p.cachewarmer,
		p.mailbox,
		p.ingress,
	} {
		if err := add(&group); err != nil {
			return err
		}
	}
	if p.server != nil {
		group.Add("memory", 0, keepMemory)
	}
	p.welcome()
	return group.Run(ctx)
}
