// Command ingress accepts mail by SMTP and answers 250 when the log has it on disk.
package main

import (
	"context"

	"github.com/sluice-mail/sluice/services/ingress"
	"github.com/sluice-mail/sluice/services/internal/logconn"
	"github.com/sluice-mail/sluice/services/internal/process"
)

func main() {
	var cfg struct {
		ingress.Config
		Log           logconn.Config
		AllowUnsynced bool `envconfig:"STREAM_ALLOW_UNSYNCED" default:"false" desc:"accept mail even if the log acknowledges before it syncs to disk"`
	}
	process.Main(process.Spec{
		Name:    "ingress",
		Summary: "accepts mail by SMTP and answers 250 when the log has it on disk",
		Config:  []any{&cfg},
		Run: func(ctx context.Context, e *process.Env) error {
			conn, err := logconn.Connect(cfg.Log, "ingress", e.Logger)
			if err != nil {
				return err
			}
			defer conn.Close()
			s, err := ingress.New(cfg.Config, ingress.Deps{
				Conn: conn, AllowUnsynced: cfg.AllowUnsynced, LogPII: e.Log.PII,
				Logger: e.Logger, Metrics: e.Metrics, Health: e.Health,
			})
			if err != nil {
				return err
			}
			return s.Run(ctx)
		},
	})
}
