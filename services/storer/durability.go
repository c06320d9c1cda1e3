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
	// durabilityFirst is when they are asked for the first time, and again when they do not say, then after twice as long
	// each: at the start of all a server may not have started JetStream yet, and until it is known no mail is taken.
	durabilityFirst = time.Second
)

// watchDurability keeps what the ingresses find in the log about its acknowledgements true until ctx ends.
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
