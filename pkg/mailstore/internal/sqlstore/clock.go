package sqlstore

import (
	"time"

	"github.com/sluice-mail/sluice/pkg/mailstore/internal/rows"
)

// DistrustClock implements mailstore.Keeper.
func (s *Store) DistrustClock(distrust bool) { s.distrust.Store(distrust) }

// Oldest is the first day that the retention keeps. By a clock that is not trusted it keeps all.
func (s *Store) Oldest(now time.Time) uint32 {
	if s.distrust.Load() {
		return 0
	}
	return rows.Oldest(s.dialect.Retention, now)
}
