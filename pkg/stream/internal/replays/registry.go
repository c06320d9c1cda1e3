// Package replays coordinates running replays with retention: each replay has an entry in ReplayBucket, which keeps retention
// from purging the mail that it has still to read.
package replays

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/bucket"
)

// Registration is a running replay's entry in ReplayBucket: what binds the processes that share it, and what
// retention reads to leave it its mails.
type Registration struct {
	Target     string    `json:"target"`
	Parameters string    `json:"parameters"`
	Created    time.Time `json:"created"`
	// Consumer is the replay's consumer on every shard of Ranges: another one for every start under the same
	// name, so that none continues where an older replay stood.
	Consumer string  `json:"consumer"`
	Ranges   []Range `json:"ranges"`
	// Failed is set by retention when it could not wait any longer.
	Failed string `json:"failed,omitempty"`
}

// Range is what a replay reads of one shard. It is fixed when the replay is first started.
type Range struct {
	Shard int    `json:"shard"`
	From  uint64 `json:"from"`
	To    uint64 `json:"to"`
	// Messages with mails between the two, for the progress.
	Messages uint64 `json:"messages"`
}

// Idle is how long an interrupted replay can be continued; then the log forgets its place.
const Idle = 24 * time.Hour

// abandoned is how old a registration without consumers may be: they are made right after it.
const abandoned = 5 * time.Minute

// Read returns the entry of the replay of that name and its revision.
func Read(ctx context.Context, kv jetstream.KeyValue, name string) (Registration, uint64, error) {
	var reg Registration
	entry, err := kv.Get(ctx, name)
	if err != nil {
		return reg, 0, fmt.Errorf("reading replay %s: %w", name, err)
	}
	if err := json.Unmarshal(entry.Value(), &reg); err != nil {
		return reg, 0, fmt.Errorf("decoding replay %s: %w", name, err)
	}
	return reg, entry.Revision(), nil
}

// Hold is a running replay's claim on a shard: nothing above UpTo may be purged.
type Hold struct {
	Name     string // of the replay
	UpTo     uint64 // sequence
	reg      Registration
	revision uint64
}

// Holds are the claims on a shard. A Registration whose consumers are gone, which the log forgets after Idle, claims nothing;
// Sweep removes it.
func Holds(ctx context.Context, js jetstream.JetStream, shard int) ([]Hold, error) {
	var holds []Hold
	err := each(ctx, js, func(_ jetstream.KeyValue, name string, reg Registration, revision uint64) error {
		upTo, claims, err := claim(ctx, js, name, reg, shard)
		if err == nil && claims {
			holds = append(holds, Hold{Name: name, UpTo: upTo, reg: reg, revision: revision})
		}
		return err
	})
	return holds, err
}

// each calls fn for every entry; a log without the bucket has none.
func each(ctx context.Context, js jetstream.JetStream, fn func(kv jetstream.KeyValue, name string, reg Registration, revision uint64) error) error {
	kv, err := js.KeyValue(ctx, stream.ReplayBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening the bucket %s: %w", stream.ReplayBucket, err)
	}
	names, err := kv.ListKeys(ctx)
	if err != nil {
		return fmt.Errorf("listing the running replays: %w", err)
	}
	var keys []string
	for name := range names.Keys() {
		keys = append(keys, name)
	}
	for _, name := range keys {
		reg, revision, err := Read(ctx, kv, name)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err == nil {
			err = fn(kv, name, reg, revision)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Sweep removes the entries whose consumers the log has forgotten: the replay was interrupted and not continued in time. Else
// whoever gives the same words days later would join its old range, which has nothing to read.
func Sweep(ctx context.Context, js jetstream.JetStream) (removed []string, err error) {
	err = each(ctx, js, func(kv jetstream.KeyValue, name string, reg Registration, revision uint64) error {
		if time.Since(reg.Created) < abandoned {
			return nil
		}
		left, err := consumersLeft(ctx, js, name, reg)
		if err != nil || left {
			return err
		}
		if err := kv.Delete(ctx, name, jetstream.LastRevision(revision)); err != nil && !bucket.IsConflict(err) {
			return fmt.Errorf("removing the abandoned replay %s: %w", name, err)
		}
		removed = append(removed, name)
		return nil
	})
	return removed, err
}

func consumersLeft(ctx context.Context, js jetstream.JetStream, name string, reg Registration) (bool, error) {
	for _, r := range reg.Ranges {
		_, err := js.Consumer(ctx, stream.StreamName(r.Shard), reg.Consumer)
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, jetstream.ErrConsumerNotFound) && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return false, fmt.Errorf("asking whether replay %s is under way: %w", name, err)
		}
	}
	return false, nil
}

func claim(ctx context.Context, js jetstream.JetStream, name string, reg Registration, shard int) (upTo uint64, claims bool, err error) {
	if reg.Failed != "" {
		return 0, false, nil
	}
	for _, b := range reg.Ranges {
		if b.Shard != shard {
			continue
		}
		c, err := js.Consumer(ctx, stream.StreamName(shard), reg.Consumer)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			return b.From - 1, time.Since(reg.Created) < abandoned, nil
		}
		if err != nil {
			return 0, false, fmt.Errorf("asking where replay %s stands: %w", name, err)
		}
		upTo := max(c.CachedInfo().AckFloor.Stream, b.From-1)
		return upTo, upTo < b.To, nil
	}
	return 0, false, nil
}

// Overtake ends a replay because the log is that full (a share of its room): its processes see it and fail.
func (h Hold) Overtake(ctx context.Context, js jetstream.JetStream, shard int, fill float64) error {
	h.reg.Failed = fmt.Sprintf("%s was %.0f %% full with the replay at sequence %d; replay a shorter range, faster, or raise STREAM_MAX_BYTES",
		stream.StreamName(shard), fill*100, h.UpTo)
	body, err := json.Marshal(h.reg)
	if err != nil {
		return fmt.Errorf("encoding replay %s: %w", h.Name, err)
	}
	kv, err := js.KeyValue(ctx, stream.ReplayBucket)
	if err == nil {
		_, err = kv.Update(ctx, h.Name, body, h.revision)
	}
	if err != nil && !bucket.IsConflict(err) {
		return fmt.Errorf("ending replay %s: %w", h.Name, err)
	}
	return nil
}
