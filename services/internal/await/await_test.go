package await

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

func TestSaysOnceWhatItWaitsFor(t *testing.T) {
	var log bytes.Buffer
	tries := 0
	err := Until(t.Context(), slog.New(slog.NewTextHandler(&log, nil)), "the tide", func(context.Context) error {
		tries++
		switch {
		case tries < 3:
			return errors.New("ebb")
		case tries < 4:
			return errors.New("slack water")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{"waiting for the tide": 3, "reason=ebb": 1, "slack water": 1, "no longer": 1} {
		if n := strings.Count(log.String(), text); n != want {
			t.Errorf("%q is said %d times, want %d:\n%s", text, n, want, log.String())
		}
	}
}

func TestEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	err := Until(ctx, slog.New(slog.DiscardHandler), "nothing", func(context.Context) error {
		cancel()
		return errors.New("never")
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
