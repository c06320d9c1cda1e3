package storer

import (
	"context"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/services/internal/database"
	"github.com/sluice-mail/sluice/services/internal/logconn"
	"github.com/sluice-mail/sluice/services/internal/process"
)

// ProcessConfig is the whole configuration of a storer in a process of its own.
type ProcessConfig struct {
	Config
	Log      logconn.Config       // how to connect to the log
	Database database.Config      // how to connect to the database
	Write    database.WriteConfig // how mail is stored there
}

// Open connects to the log and prepares the database; it waits for neither.
func (c *ProcessConfig) Open(e *process.Env) (Deps, func(), error) {
	conn, err := logconn.Connect(c.Log, "storer", e.Logger)
	if err != nil {
		return Deps{}, nil, err
	}
	store, err := database.Open(c.Database, c.Write, c.Log.Dir, false, e.Logger, e.Metrics)
	if err != nil {
		conn.Close()
		return Deps{}, nil, err
	}
	closeAll := func() {
		// The last acknowledgements must leave before the connection does.
		_ = conn.FlushTimeout(stopGrace)
		conn.Close()
		if err := store.Close(); err != nil {
			e.Logger.Warn("closing the database", "error", err)
		}
	}
	return Deps{
		Conn: conn, Store: store, Workers: c.Write.Conns, Retention: c.Write.Retention,
		Durability: func(ctx context.Context) (stream.Durability, error) {
			return stream.ReadDurability(ctx, c.Log.MonitorURL, conn)
		},
		Logger: e.Logger, Metrics: e.Metrics, Health: e.Health,
	}, closeAll, nil
}

// Migrate is `storer migrate`.
func (c *ProcessConfig) Migrate(ctx context.Context, e *process.Env) error {
	deps, closeAll, err := c.Open(e)
	if err != nil {
		return err
	}
	defer closeAll()
	if err := Prepare(ctx, c.Shape, deps); err != nil {
		return err
	}
	e.Logger.Info("the log and the database are ready")
	return nil
}

// Replay is `storer replay`.
func (c *ProcessConfig) Replay(ctx context.Context, e *process.Env) error {
	deps, closeAll, err := c.Open(e)
	if err != nil {
		return err
	}
	defer closeAll()
	cmd := replayCommand(c.Config, deps, database.Target(c.Database, c.Log.Dir))
	return cmd.Run(ctx, deps.Conn, deps.Logger, deps.Metrics, e.Args, e.Stdout)
}
