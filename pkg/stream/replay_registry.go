package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// registration is a running replay's entry in ReplayBucket: what binds the processes that share it, and what
// retention reads to leave it its mails.
type registration struct {
	Target     string    `json:"target"`
	Parameters string    `json:"parameters"`
	Created    time.Time `json:"created"`
	// Consumer is the replay's consumer on every shard of Ranges: another one for every start under the same
	// name, so that none continues where an older replay stood.
	Consumer string        `json:"consumer"`
	Ranges   []replayRange `json:"ranges"`
	// Failed is set by retention when it could not wait any longer.
	Failed string `json:"failed,omitempty"`
}

// abandoned is how old a registration without consumers may be: they are made right after it.
const abandoned = 5 * time.Minute

// register joins the replay of that name, or starts it.
func (r *Replay) register(ctx context.Context, js jetstream.JetStream, reader *Reader) (registration, uint64, error) {
	kv, err := js.KeyValue(ctx, ReplayBucket)
	if err != nil {
		return registration{}, 0, fmt.Errorf("opening the bucket %s (storer migrate creates it): %w", ReplayBucket, err)
	}
	for {
		reg, revision, err := readRegistration(ctx, kv, r.Name)
		switch {
		case err == nil && reg.Failed != "":
			if err := kv.Delete(ctx, r.Name, jetstream.LastRevision(revision)); err != nil && !isConflict(err) {
				return registration{}, 0, fmt.Errorf("removing the failed replay %s: %w", r.Name, err)
			}
			continue
		case err == nil:
			return reg, revision, r.matches(reg)
		case !errors.Is(err, jetstream.ErrKeyNotFound):
			return registration{}, 0, err
		}
		reg, revision, err = r.start(ctx, reader, kv)
		if !errors.Is(err, jetstream.ErrKeyExists) {
			return reg, revision, err
		}
	}
}

func (r *Replay) start(ctx context.Context, reader *Reader, kv jetstream.KeyValue) (registration, uint64, error) {
	reg := registration{Target: r.Target, Parameters: r.Parameters, Created: time.Now().UTC(), Consumer: replayConsumer + r.Name + "-" + nuid.Next()}
	var err error
	if reg.Ranges, err = r.ranges(ctx, reader); err != nil {
		return reg, 0, err
	}
	body, err := json.Marshal(reg)
	if err != nil {
		return reg, 0, fmt.Errorf("encoding the replay: %w", err)
	}
	revision, err := kv.Create(ctx, r.Name, body)
	if err != nil {
		return reg, 0, fmt.Errorf("registering replay %s: %w", r.Name, err)
	}
	return reg, revision, nil
}

func (r *Replay) matches(reg registration) error {
	if reg.Target != r.Target {
		return fmt.Errorf("%w: %q goes to %q, not to %q; use another name", ErrReplayMismatch, r.Name, reg.Target, r.Target)
	}
	if reg.Parameters != r.Parameters {
		return fmt.Errorf("%w: %q was started with %q, not with %q; use the same parameters or another name",
			ErrReplayMismatch, r.Name, reg.Parameters, r.Parameters)
	}
	return nil
}

func readRegistration(ctx context.Context, kv jetstream.KeyValue, name string) (registration, uint64, error) {
	var reg registration
	entry, err := kv.Get(ctx, name)
	if err != nil {
		return reg, 0, fmt.Errorf("reading replay %s: %w", name, err)
	}
	if err := json.Unmarshal(entry.Value(), &reg); err != nil {
		return reg, 0, fmt.Errorf("decoding replay %s: %w", name, err)
	}
	return reg, entry.Revision(), nil
}

// isConflict says whether somebody else changed the entry first.
func isConflict(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, jetstream.ErrKeyExists) || (errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence)
}

// replayHold is a running replay's claim on a shard: nothing above upTo may be purged.
type replayHold struct {
	name     string
	upTo     uint64
	reg      registration
	revision uint64
}

// replayHolds are the claims on a shard. A registration whose consumers are gone, which the log forgets after
// replayIdle, claims nothing and is removed.
func replayHolds(ctx context.Context, js jetstream.JetStream, shard int) ([]replayHold, error) {
	kv, err := js.KeyValue(ctx, ReplayBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening the bucket %s: %w", ReplayBucket, err)
	}
	names, err := kv.ListKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the running replays: %w", err)
	}
	var keys []string
	for name := range names.Keys() {
		keys = append(keys, name)
	}
	var holds []replayHold
	for _, name := range keys {
		reg, revision, err := readRegistration(ctx, kv, name)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		upTo, claims, err := claim(ctx, js, name, reg, shard)
		if err != nil {
			return nil, err
		}
		if claims {
			holds = append(holds, replayHold{name: name, upTo: upTo, reg: reg, revision: revision})
		}
	}
	return holds, nil
}

func claim(ctx context.Context, js jetstream.JetStream, name string, reg registration, shard int) (upTo uint64, claims bool, err error) {
	if reg.Failed != "" {
		return 0, false, nil
	}
	for _, b := range reg.Ranges {
		if b.Shard != shard {
			continue
		}
		c, err := js.Consumer(ctx, StreamName(shard), reg.Consumer)
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

// overtake ends a replay: its processes see it and fail.
func (h replayHold) overtake(ctx context.Context, js jetstream.JetStream, s *shardState) error {
	h.reg.Failed = fmt.Sprintf("%s was %.0f %% full with the replay at sequence %d; replay a shorter range, faster, or raise STREAM_MAX_BYTES",
		s.info.Config.Name, s.fill()*100, h.upTo)
	body, err := json.Marshal(h.reg)
	if err != nil {
		return fmt.Errorf("encoding replay %s: %w", h.name, err)
	}
	kv, err := js.KeyValue(ctx, ReplayBucket)
	if err == nil {
		_, err = kv.Update(ctx, h.name, body, h.revision)
	}
	if err != nil && !isConflict(err) {
		return fmt.Errorf("ending replay %s: %w", h.name, err)
	}
	return nil
}
