package stream

import (
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// watcher turns the connection's events into two plain sentences: what we wait for, and that it is there.
type watcher struct {
	logger *slog.Logger
	where  string
}

func (w watcher) options() []nats.Option {
	var waiting atomic.Bool
	lost := func(err error) {
		if waiting.CompareAndSwap(false, true) {
			w.logger.Warn("waiting for the log (NATS); retrying until it answers", "url", w.where, "reason", reason(err))
		}
	}
	there := func(nc *nats.Conn) {
		waiting.Store(false)
		w.logger.Info("connected to the log (NATS)", "url", redact(nc.ConnectedUrl()), "server", nc.ConnectedServerVersion())
	}
	return []nats.Option{
		nats.ConnectHandler(there),
		nats.ReconnectHandler(there),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { lost(err) }),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if !nc.IsClosed() {
				lost(err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			attrs := []any{"reason", err}
			if sub != nil {
				attrs = append(attrs, "subject", sub.Subject)
			}
			w.logger.Warn("the log (NATS) reports", attrs...)
		}),
	}
}

func reason(err error) string {
	if err == nil {
		return "the connection ended"
	}
	return err.Error()
}

// redact hides tokens and passwords of the URLs.
func redact(urls string) string {
	list := strings.Split(urls, ",")
	for i, s := range list {
		s = strings.TrimSpace(s)
		if u, err := url.Parse(s); err == nil && u.Host != "" {
			u.User = nil
			s = u.String()
		}
		list[i] = s
	}
	return strings.Join(list, ",")
}
