// Package wait is a sleep that ends with its context.
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
