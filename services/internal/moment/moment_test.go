package moment

import (
	"testing"
	"time"
)

func TestEveryCommandReadsTheSameTimes(t *testing.T) {
	local := time.Local
	t.Cleanup(func() { time.Local = local })
	time.Local = time.FixedZone("", 3600) // where the operator sits changes nothing
	now := time.Date(2026, 2, 1, 12, 0, 0, 0, time.UTC)
	day := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"":                          {},
		"24h":                       now.Add(-24 * time.Hour),
		"2026-01-31":                day,
		"2026-01-31T15:04":          day.Add(15*time.Hour + 4*time.Minute),
		"2026-01-31 15:04:05":       day.Add(15*time.Hour + 4*time.Minute + 5*time.Second),
		"2026-01-31T15:04:05+01:00": day.Add(14*time.Hour + 4*time.Minute + 5*time.Second),
	} {
		if got, err := Parse(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q is %v (%v), want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "-1h", "31.1.2026"} {
		if got, err := Parse(text, now); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}
