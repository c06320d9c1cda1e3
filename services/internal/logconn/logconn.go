// Package logconn connects a service to the log: to NATS_URL, or to the embedded server of an allinone on the same
// machine.
package logconn

import (
	"log/slog"

	"github.com/nats-io/nats.go"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/services/internal/datadir"
)

// Config is what every service knows about the log.
type Config struct {
	stream.ConnConfig
	datadir.Config
}

// Connect returns a connection that retries until it succeeds; it does not wait for the server. service names the connection,
// and its first three letters its inbox, which is what the accounts in deploy/nats allow each service.
func Connect(cfg Config, service string, logger *slog.Logger) (*nats.Conn, error) {
	if cfg.Dir != "" && !datadir.IsSet("NATS_URL") {
		url, err := datadir.Dir(cfg.Dir).NATSURL()
		if err != nil {
			return nil, err
		}
		cfg.URL = url
	}
	return stream.Connect(cfg.ConnConfig, stream.ConnOptions{
		Name:        "sluice-" + service,
		InboxPrefix: "_INBOX." + service[:3],
		Logger:      logger,
	})
}
