package stream

import "time"

// Skew is how far another clock, which says that it was read at clock, is outside the time in which it must have been read:
// between asked and heard on this machine's. Zero when nothing was read.
func Skew(clock, asked, heard time.Time) time.Duration {
	switch {
	case clock.IsZero():
		return 0
	case clock.Before(asked):
		return clock.Sub(asked)
	case clock.After(heard):
		return clock.Sub(heard)
	}
	return 0
}
