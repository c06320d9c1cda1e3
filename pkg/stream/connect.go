package stream

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// ConnConfig says where the log is.
type ConnConfig struct {
	URL        string `envconfig:"NATS_URL" default:"nats://127.0.0.1:4222" desc:"the log: one or more NATS servers, comma-separated; a token may be in the URL"`
	Creds      string `envconfig:"NATS_CREDS" desc:"file with NATS credentials or an nkey seed"`
	MonitorURL string `envconfig:"NATS_MONITOR_URL" desc:"monitoring endpoints of the NATS servers, comma-separated, for reading their sync setting"`
}

// ConnOptions is what differs between the services.
type ConnOptions struct {
	// Name is what the server's connection list shows.
	Name string
	// InboxPrefix is the subject prefix for answers [_INBOX]; with deploy/nats/users.conf each service may use only its own.
	InboxPrefix string
	// Logger gets changes of the connection's state.
	Logger *slog.Logger
}

// Options are the options every connection to the log needs, whatever it connects to. No reconnect buffer:
// it would send mails to the log long after their senders were told 451.
func (o ConnOptions) Options() []nats.Option {
	opts := []nats.Option{
		nats.Name(o.Name),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectBufSize(-1),
		nats.ReconnectWait(200 * time.Millisecond), // mails are waiting
		nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		nats.FlusherTimeout(10 * time.Second),
		nats.Timeout(5 * time.Second),
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(2),
	}
	if o.InboxPrefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(o.InboxPrefix))
	}
	return opts
}

// Connect returns a connection that retries until it succeeds; it does not wait for the server. It logs once that it waits, and
// once that it is connected.
func Connect(cfg ConnConfig, o ConnOptions) (*nats.Conn, error) {
	opts := o.Options()
	auth, err := credentials(cfg.Creds)
	if err != nil {
		return nil, err
	}
	opts = append(opts, auth...)
	w := watcher{logger: o.Logger, where: redact(cfg.URL)}
	opts = append(opts, w.options()...)
	nc, err := nats.Connect(cfg.URL, opts...)
	if err != nil {
		return nil, fmt.Errorf("connecting to the log at %s (NATS_URL): %w", w.where, err)
	}
	return nc, nil
}

// credentials reads NATS_CREDS: a file with a JWT and a seed, or with an nkey seed alone.
func credentials(file string) ([]nats.Option, error) {
	if file == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading NATS_CREDS: %w", err)
	}
	if strings.Contains(string(raw), "BEGIN NATS USER JWT") {
		return []nats.Option{nats.UserCredentials(file)}, nil
	}
	opt, err := nats.NkeyOptionFromSeed(file)
	if err != nil {
		return nil, fmt.Errorf("NATS_CREDS=%s is neither a credentials file nor an nkey seed file: %w", file, err)
	}
	return []nats.Option{opt}, nil
}
