package retain

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/record"
)

// shardState is one shard as the janitor sees it. What is at or below floor is settled by the storer.
type shardState struct {
	info  *jetstream.StreamInfo
	floor uint64
	now   time.Time
}

func (s *shardState) shard() int {
	p, _ := stream.Shard(s.info.Config.Name)
	return p
}

// fill is the share of the room that is taken.
func (s *shardState) fill() float64 {
	if s.info.Config.MaxBytes <= 0 {
		return 0
	}
	return float64(s.info.State.Bytes) / float64(s.info.Config.MaxBytes)
}

// excess is how many bytes must go to reach lowWater.
func (s *shardState) excess() uint64 {
	room := uint64(float64(s.info.Config.MaxBytes) * lowWater)
	if s.info.Config.MaxBytes <= 0 || s.info.State.Bytes <= room {
		return 0
	}
	return s.info.State.Bytes - room
}

// due says whether anything may have to go: the oldest mail is too old, or the room is short.
func (s *shardState) due(keep time.Duration) bool {
	st := s.info.State
	return st.Msgs > 0 && s.floor >= st.FirstSeq && (st.FirstTime.Before(s.now.Add(-keep)) || s.excess() > 0)
}

// purge removes mail up to limit as far as age or room ask for it, in small steps.
func (j *Janitor) purge(ctx context.Context, s *shardState, limit uint64) error {
	for ctx.Err() == nil && s.due(j.cfg.Shape.Keep) && j.lease.held(time.Now()) {
		from := s.info.State.FirstSeq
		to, more, err := j.plan(ctx, s, limit)
		if err != nil || to < from {
			return err
		}
		if err := j.purgeRange(ctx, s, from, to); err != nil {
			return err
		}
		if !more {
			return nil
		}
	}
	return ctx.Err()
}

// plan finds the last sequence to purge in the next step. It takes whole mails only, so that a large one is purged with its parts or
// not at all; none above limit; and only as much as age or room require. more says that another step must follow.
func (j *Janitor) plan(ctx context.Context, s *shardState, limit uint64) (to uint64, more bool, err error) {
	var (
		oldest = s.now.Add(-j.cfg.Shape.Keep)
		excess = s.excess()
		mail   uint64 // bytes of the mail that is being read: its parts, then its head
		gone   uint64 // bytes up to to
	)
	w := record.Walk{JS: j.js, Stream: s.info.Config.Name, From: s.info.State.FirstSeq, To: limit}
	err = w.Each(ctx, func(m record.Walked) error {
		mail += m.Size
		if m.Subject != stream.HeadSubject(s.shard()) {
			return nil
		}
		if gone >= excess && !m.Time.Before(oldest) {
			return record.ErrStop
		}
		if gone+mail > j.step && to > 0 {
			more = true
			return record.ErrStop
		}
		to, gone, mail = m.Sequence, gone+mail, 0
		return nil
	})
	if err != nil {
		return 0, false, fmt.Errorf("planning retention: %w", err)
	}
	return to, more, nil
}

func (j *Janitor) purgeRange(ctx context.Context, s *shardState, from, to uint64) error {
	for from <= to {
		upTo := to
		if j.cfg.BeforePurge != nil {
			var err error
			if upTo, err = j.cfg.BeforePurge(ctx, s.info.Config.Name, from, to); err != nil {
				return fmt.Errorf("auditing %s from %d to %d before it is purged: %w", s.info.Config.Name, from, to, err)
			}
		}
		if err := j.purgeUpTo(ctx, s, from, upTo); err != nil {
			return err
		}
		from = upTo + 1
	}
	return nil
}

func (j *Janitor) purgeUpTo(ctx context.Context, s *shardState, from, to uint64) error {
	name := s.info.Config.Name
	stream, err := j.js.Stream(ctx, name)
	if err != nil {
		return fmt.Errorf("opening %s: %w", name, err)
	}
	before := stream.CachedInfo().State
	if err := stream.Purge(ctx, jetstream.WithPurgeSequence(to+1)); err != nil {
		return fmt.Errorf("purging %s up to %d: %w", name, to, err)
	}
	info, err := stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("asking for the state of %s: %w", name, err)
	}
	s.info = info
	gone := int64(before.Bytes) - int64(s.info.State.Bytes)
	j.metrics.purged.Add(float64(max(gone, 0)))
	j.logger.Debug("purged stored mail from the log", "stream", name, "from", from, "to", to, "bytes", gone)
	return nil
}
