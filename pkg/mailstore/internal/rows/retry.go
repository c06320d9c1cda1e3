package rows

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

const (
	conflicts = 10 // attempts at a batch that meets other transactions
	losses    = 2  // attempts at a batch whose connection is lost
	doubts    = 3  // attempts at a batch that fails for a reason nobody has a class for: it may pass
)

// Again runs one transaction, and runs it again a bounded number of times when its error is one that may pass. Longer
// trouble is for the caller, who can stop fetching mail meanwhile.
func Again(ctx context.Context, run func() error) error {
	var conflict, lost, doubt int
	for {
		err := run()
		if err == nil || errors.Is(err, errSource) || errors.Is(err, mailstore.ErrNotFound) {
			return err // no trouble of the database; and when to read the log again the caller knows better
		}
		switch mailstore.Classify(err) {
		case mailstore.Retry:
			conflict++
		case mailstore.Reconnect:
			lost++
		case mailstore.Unknown:
			doubt++
		default:
			return err
		}
		if conflict == conflicts || lost == losses || doubt == doubts {
			return err
		}
		// Random, because the other side of a deadlock waits too; 20 ms at first, 2 s in the end.
		longest := min(2*time.Second, 20*time.Millisecond<<(conflict+lost+doubt))
		select {
		case <-time.After(longest/2 + rand.N(longest/2)):
		case <-ctx.Done():
			return err
		}
	}
}
