package storer

import (
	"context"
	"time"

	"github.com/sluice-mail/sluice/pkg/stream"
)

const (
	// durabilityEvery is how often the log's servers are asked how they sync: one may have been restarted with another
	// setting.
	durabilityEvery = time.Minute
	// durabilityFirst is the wait before the first request. While the setting is unknown, the request is repeated, each time after
	// twice as long: when everything is started together, a server may not have started JetStream yet, and until the setting
	// is known no mail is accepted.
	durabilityFirst = time.Second
)

// watchDurability keeps the durability that is noted in the log for the ingresses up to date until ctx ends.
func (s *Service) watchDurability(ctx context.Context) error {
	said, wait := "", durabilityFirst
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		err := s.noteDurability(ctx)
		wait = min(2*wait, durabilityEvery)
		switch {
		case err == nil:
			said, wait = "", durabilityEvery
		case ctx.Err() == nil && err.Error() != said:
			said = err.Error()
			s.deps.Logger.Warn("cannot read whether the log syncs before it acknowledges; the last known setting stays in force", "reason", err)
		}
	}
}

func (s *Service) noteDurability(ctx context.Context) error {
	durability, err := s.deps.Durability(ctx)
	s.metrics.unread.Set(0)
	if err != nil {
		s.metrics.unread.Set(1)
		return err
	}
	return stream.NoteDurability(ctx, s.deps.Conn, durability, s.deps.Logger)
}
