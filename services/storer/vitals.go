package storer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluice-mail/sluice/pkg/stream"
)

const (
	// vitalsEvery is how often the state of the log and the database is read.
	vitalsEvery = 30 * time.Second
	// maxClockSkew is how far this machine's clock may differ from those of the log and the database. Beyond it nothing expires,
	// because with a clock that is ahead, new mail would be acknowledged without being stored, and partitions with mail dropped.
	maxClockSkew = 60 * time.Second
)

// watchVitals reads the state of the log and the database until ctx ends.
func (s *Service) watchVitals(ctx context.Context) error {
	for {
		if err := s.checkVitals(ctx); err != nil && ctx.Err() == nil {
			s.deps.Logger.Warn("reading the state of the log and the database", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(vitalsEvery):
		}
	}
}

// checkVitals decides whether this machine's clock can be trusted: only if it agrees with both log and database. It also notices
// when the database's address leads to another server, and when the database does not sync.
func (s *Service) checkVitals(ctx context.Context) error {
	asked := time.Now()
	states, err := stream.NewReader(s.deps.Conn).States(ctx)
	if err == nil && len(states) == 0 {
		err = errors.New("the log has no shards")
	}
	if err != nil {
		s.trust(ctx, err)
		return err
	}
	off := stream.Skew(states[0].Clock, asked, time.Now())
	asked = time.Now()
	vitals, err := s.deps.Store.Vitals(ctx)
	if err != nil {
		s.trust(ctx, err)
		return err
	}
	if other := stream.Skew(vitals.Clock, asked, time.Now()); other.Abs() > off.Abs() {
		off = other
	}
	var why error
	if off.Abs() > maxClockSkew {
		why = fmt.Errorf("the clocks of log and database are %v ahead of this machine's", off.Round(time.Second))
	}
	s.trust(ctx, why)
	unsynced := 0.0
	if vitals.Unsynced {
		unsynced = 1
	}
	if unsynced > s.unsynced {
		s.deps.Logger.Warn("innodb_flush_log_at_trx_commit is not 1: a power failure of the database can lose mail that is no longer in the log")
	}
	s.unsynced = unsynced
	s.metrics.unsynced.Set(unsynced)
	return s.auditor.SameDatabase(ctx, vitals.Identity)
}

// trust logs each change: that nothing expires for now, and later that mail expires again.
func (s *Service) trust(ctx context.Context, why error) {
	s.deps.Store.DistrustClock(why != nil)
	s.auditor.DistrustClock(why != nil)
	if why == nil {
		s.metrics.clockOff.Set(0)
		if s.clockOff {
			s.deps.Logger.Info("this machine's clock is right again: mail expires as usual")
		}
		s.clockOff = false
		return
	}
	s.metrics.clockOff.Set(1)
	if !s.clockOff && ctx.Err() == nil {
		s.deps.Logger.Error("this machine's clock cannot be trusted: until it is right, no mail expires and none is dropped", "reason", why)
	}
	s.clockOff = true
}
