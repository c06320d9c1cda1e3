package consume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/bucket"
	"github.com/sluice-mail/sluice/pkg/stream/internal/replays"
)

// register joins the replay of that name, or starts it.
func (r *Replay) register(ctx context.Context, js jetstream.JetStream, reader *stream.Reader) (replays.Registration, uint64, error) {
	kv, err := js.KeyValue(ctx, stream.ReplayBucket)
	if err != nil {
		return replays.Registration{}, 0, fmt.Errorf("opening the bucket %s (storer migrate creates it): %w", stream.ReplayBucket, err)
	}
	for {
		reg, revision, err := replays.Read(ctx, kv, r.Name)
		switch {
		case err == nil && reg.Failed != "":
			if err := kv.Delete(ctx, r.Name, jetstream.LastRevision(revision)); err != nil && !bucket.IsConflict(err) {
				return replays.Registration{}, 0, fmt.Errorf("removing the failed replay %s: %w", r.Name, err)
			}
			continue
		case err == nil:
			return reg, revision, r.matches(reg)
		case !errors.Is(err, jetstream.ErrKeyNotFound):
			return replays.Registration{}, 0, err
		}
		reg, revision, err = r.start(ctx, reader, kv)
		if !errors.Is(err, jetstream.ErrKeyExists) {
			return reg, revision, err
		}
	}
}

func (r *Replay) start(ctx context.Context, reader *stream.Reader, kv jetstream.KeyValue) (replays.Registration, uint64, error) {
	reg := replays.Registration{Target: r.Target, Parameters: r.Parameters, Created: time.Now().UTC(), Consumer: stream.ReplayConsumer + r.Name + "-" + nuid.Next()}
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

func (r *Replay) matches(reg replays.Registration) error {
	if reg.Target != r.Target {
		return fmt.Errorf("%w: %q goes to %q, not to %q; use another name", ErrReplayMismatch, r.Name, reg.Target, r.Target)
	}
	if reg.Parameters != r.Parameters {
		return fmt.Errorf("%w: %q was started with %q, not with %q; use the same parameters or another name",
			ErrReplayMismatch, r.Name, reg.Parameters, r.Parameters)
	}
	return nil
}
