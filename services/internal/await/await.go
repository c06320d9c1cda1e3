// Package await waits for something that a service needs, and logs it: once when it begins to wait, again only
// when the reason changes, and once when the wait is over.
package await

import (
	"context"
	"log/slog"
	"time"
)

const (
	firstPause   = 250 * time.Millisecond
	longestPause = 5 * time.Second
)

// Until calls try until it succeeds or ctx ends; then it returns ctx's error. what completes the sentence
// "waiting for …".
func Until(ctx context.Context, logger *slog.Logger, what string, try func(context.Context) error) error {
	said := ""
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := try(ctx)
		if err == nil {
			if said != "" {
				logger.Info("no longer waiting for " + what)
			}
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if reason := err.Error(); reason != said {
			logger.Warn("waiting for "+what, "reason", reason)
			said = reason
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}
