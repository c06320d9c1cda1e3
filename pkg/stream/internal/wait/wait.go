// Package wait has a sleep that ends when its context does.
package wait

import (
	"context"
	"time"
)

// For waits d; false when ctx ended first.
func For(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
