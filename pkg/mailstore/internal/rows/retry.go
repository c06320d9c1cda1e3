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
)

// Again runs one transaction, and runs it again where that is what its error calls for. Longer trouble is for the
// caller, who can stop fetching mail meanwhile.
func Again(ctx context.Context, run func() error) error {
	var conflict, lost int
	for {
		err := run()
		if errors.Is(err, errSource) {
			return err // not a conflict in the database, and the caller knows better when to read again
		}
		switch mailstore.Classify(err) {
		case mailstore.Retry:
			conflict++
		case mailstore.Reconnect:
			lost++
		default:
			return err
		}
		if conflict == conflicts || lost == losses {
			return err
		}
		// Random, because the other side of a deadlock waits too; 20 ms to 2 s as conflicts go on.
		longest := min(2*time.Second, 20*time.Millisecond<<(conflict+lost))
		select {
		case <-time.After(longest/2 + rand.N(longest/2)):
		case <-ctx.Done():
			return err
		}
	}
}
