// Package moment parses the points in time that operators give on the command line.
package moment

import (
	"fmt"
	"time"
)

// Parse reads a point in time: a duration is counted back from now, a time without a zone is UTC, and "" is the zero time.
func Parse(value string, now time.Time) (time.Time, error) {
	if value == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(value); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, value, time.UTC); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%s is not a time; allowed: a duration ago (90s, 24h), a UTC date (2026-01-31) or RFC 3339 (2026-01-31T15:04:05Z)", value)
}
