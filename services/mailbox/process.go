package mailbox

import (
	"errors"

	"github.com/sluice-mail/sluice/pkg/mailcache"
	"github.com/sluice-mail/sluice/services/internal/database"
	"github.com/sluice-mail/sluice/services/internal/logconn"
	"github.com/sluice-mail/sluice/services/internal/process"
)

// ProcessConfig is the whole configuration of a mailbox service in a process of its own.
type ProcessConfig struct {
	Config
	Log      logconn.Config  // how to connect to NATS
	Database database.Config // how to connect to the database
	Cache    []string        `envconfig:"MEMCACHED_ADDRS" default:"127.0.0.1:11211" desc:"Memcached servers, comma-separated"`
}

// conns is how many connections to the database are kept for reading.
const conns = 8

// Open connects to the log, the cache and the database; it waits for none.
func (c *ProcessConfig) Open(e *process.Env) (Deps, func(), error) {
	conn, err := logconn.Connect(c.Log, "mailbox", e.Logger)
	if err != nil {
		return Deps{}, nil, err
	}
	opened, err := database.Open(c.Database, database.WriteConfig{Conns: conns}, c.Log.Dir, false, e.Logger, e.Metrics)
	if err != nil {
		conn.Close()
		return Deps{}, nil, err
	}
	cache := mailcache.New(mailcache.Config{Addrs: c.Cache}, nil, e.Logger, e.Metrics)
	closeAll := func() {
		conn.Close()
		cache.Close()
		if err := opened.Close(); err != nil {
			e.Logger.Warn("closing the database", "error", err)
		}
	}
	store, ok := opened.(Store)
	if !ok {
		closeAll()
		return Deps{}, nil, errors.New("the mailbox service cannot read this kind of database")
	}
	return Deps{Conn: conn, Store: store, Cache: cache, Logger: e.Logger, Metrics: e.Metrics, Health: e.Health, LogPII: e.Log.PII}, closeAll, nil
}
