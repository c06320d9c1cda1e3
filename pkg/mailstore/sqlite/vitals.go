package sqlite

import (
	"context"
	"time"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

// Vitals implements mailstore.Keeper. The clock is this machine's, and every commit is synced.
func (s *Store) Vitals(context.Context) (mailstore.Vitals, error) {
	return mailstore.Vitals{Clock: time.Now()}, nil
}
