package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

func probeLeavesNothing(t *testing.T, open Open) {
	s := open(t, Options{Retention: 24 * time.Hour})
	put(t, s, mailstore.Result{New: 1}, NewMail(time.Now(), Text(300), "a@example.com"))
	for range 3 {
		if err := s.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if ids, n, listed := allIDs(t, s), count(t, s), inbox(t, s, "probe@sluice.invalid"); len(ids) != 1 || n != 1 || len(listed) != 0 {
		t.Errorf("%d ids, %d counted, %d in the mailbox of the probe; want 1, 1, 0", len(ids), n, len(listed))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Probe(ctx); mailstore.Classify(err) != mailstore.Reconnect {
		t.Errorf("cancelled: %v", err)
	}
}
