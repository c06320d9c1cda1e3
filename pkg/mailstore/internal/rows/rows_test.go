package rows

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                          "plain",
		"Gr\xfc\xdfe":                    "Gr\uFFFDe",
		"a\x00b\x1b[2J":                  "ab[2J",
		"folded\r\n\theader":             "folded   h",
		"  spaces  ":                     "spaces",
		"abcdefghijkl":                   "abcdefghij",
		"\U0001F4EC234567890":            "\U0001F4EC234567890",
		"123456789 1":                    "123456789",
		"\u0085c1\u200d":                 "c1\u200d",
		strings.Repeat("\U0001F4EC", 11): strings.Repeat("\U0001F4EC", 10),
	} {
		if got := Text(in, 10); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("Gr\xfc\xdfe \U0001F4EC", 5)
	f.Fuzz(func(t *testing.T, s string, n int) {
		n = max(0, min(n, 1000))
		text, bytes := Text(s, n), Bytes(s, n)
		if utf8.RuneCountInString(text) > n || len(bytes) > n || !utf8.ValidString(text) || !utf8.ValidString(bytes) {
			t.Errorf("%q, %d: %q %q", s, n, text, bytes)
		}
	})
}

func TestOldest(t *testing.T) {
	day := func(d, hour int) time.Time { return time.UnixMilli(int64(d)*86_400_000 + int64(hour)*3_600_000) }
	for _, c := range []struct {
		retention time.Duration
		now       time.Time
		want      uint32
	}{
		{0, day(100, 5), 0},
		{24 * time.Hour, day(100, 5), 99}, // day 99 has mails younger than 24 h
		{24 * time.Hour, day(100, 0), 99},
		{6 * time.Hour, day(100, 5), 99},
		{6 * time.Hour, day(100, 7), 100},
		{1000 * 24 * time.Hour, day(100, 5), 0},
	} {
		if got := Oldest(c.retention, c.now); got != c.want {
			t.Errorf("%v at %v: %d, want %d", c.retention, c.now.UTC(), got, c.want)
		}
	}
}

// Conflicts and lost connections are tried again a bounded number of times; everything else is the caller's.
func TestAgain(t *testing.T) {
	of := func(c mailstore.Class) error { return &mailstore.Error{Class: c, Err: errors.New("x")} }
	for name, c := range map[string]struct {
		err  error
		runs int
	}{
		"none": {nil, 1}, "retry": {of(mailstore.Retry), conflicts}, "reconnect": {of(mailstore.Reconnect), losses},
		"pause": {of(mailstore.Pause), 1}, "data": {of(mailstore.Data), 1}, "unknown": {errors.New("x"), doubts},
		"source": {&mailstore.Error{Class: mailstore.Retry, Err: errSource}, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			runs, start := 0, time.Now()
			err := Again(t.Context(), func() error { runs++; return c.err })
			if !errors.Is(err, c.err) || runs != c.runs {
				t.Errorf("%s: %d runs (%v), want %d", name, runs, err, c.runs)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("%s: gave up after %v only", name, took)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	runs := 0
	if err := Again(ctx, func() error { runs++; return of(mailstore.Retry) }); err == nil || runs > 1 {
		t.Errorf("%d runs after the end of the context", runs)
	}
}
