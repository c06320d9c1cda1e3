package stream

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/env"
)

// Shape is the wanted form of the log.
type Shape struct {
	Shards   int `envconfig:"STREAM_SHARDS" default:"1" desc:"number of streams that the mail is spread over; can be raised, but not lowered"`
	Replicas int `envconfig:"STREAM_REPLICAS" default:"1" desc:"number of servers that keep each stream: 1, 3 or 5"`
	// MaxBytes is the size of each shard, not of all together.
	MaxBytes env.Bytes `envconfig:"STREAM_MAX_BYTES" default:"10GiB" desc:"size of each shard, reserved on the log's disk; can be raised, but not lowered"`
	// Keep is not guaranteed: stored mail is purged earlier when the log needs its room.
	Keep          time.Duration `envconfig:"STREAM_KEEP" default:"72h" desc:"how long stored mail stays in the log for replays, if there is room"`
	AllowUnsynced bool          `envconfig:"STREAM_ALLOW_UNSYNCED" default:"false" desc:"accept a log that acknowledges before its data is on disk: a power failure then loses mail that got 250"`
}

const (
	// deadShare is the room for dead letters as a part of a shard's, bucketBytes that of each bucket.
	deadShare   = 10
	bucketBytes = 64 << 20
)

// Ensure brings streams, consumers and buckets to that shape, and notes in their metadata what an
// acknowledgement is worth. Doing it again changes nothing. It creates and grows; it never shrinks or deletes.
func Ensure(ctx context.Context, nc *nats.Conn, shape Shape, durability Durability, logger *slog.Logger) error {
	if err := shape.check(); err != nil {
		return err
	}
	if err := checkServer(nc); err != nil {
		return err
	}
	if durability == Orphaned {
		return ErrOrphaned
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("ensuring the log's streams: %w", err)
	}
	e := ensurer{js: js, shape: shape, durability: durability, logger: logger}
	shards, err := e.shards(ctx)
	if err != nil {
		return err
	}
	for _, number := range shards {
		if err := e.shard(ctx, number); err != nil {
			return err
		}
	}
	if err := e.stream(ctx, e.deadConfig()); err != nil {
		return err
	}
	return e.buckets(ctx)
}

func (s Shape) check() error {
	switch {
	case s.Shards < 1 || s.Shards > MaxShards:
		return fmt.Errorf("STREAM_SHARDS=%d: must be 1 to %d", s.Shards, MaxShards)
	case s.Replicas != 1 && s.Replicas != 3 && s.Replicas != 5:
		return fmt.Errorf("STREAM_REPLICAS=%d: must be 1, 3 or 5", s.Replicas)
	case s.MaxBytes < 1<<20:
		return fmt.Errorf("STREAM_MAX_BYTES=%v: must be at least 1MiB", s.MaxBytes)
	}
	return nil
}

type ensurer struct {
	js         jetstream.JetStream
	shape      Shape
	durability Durability
	logger     *slog.Logger
}

// shards are the numbers of those that there should be: STREAM_SHARDS of them, and whichever there are beyond these.
func (e ensurer) shards(ctx context.Context) ([]int, error) {
	all, err := Shards(ctx, e.js)
	if err != nil {
		return nil, err
	}
	if n := len(all); n > 0 && all[n-1] >= e.shape.Shards {
		e.logger.Warn("the log has more shards than STREAM_SHARDS; shards are never removed", "last", StreamName(all[n-1]), "STREAM_SHARDS", e.shape.Shards)
	}
	for number := range e.shape.Shards {
		all = append(all, number)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func (e ensurer) shard(ctx context.Context, number int) error {
	if err := e.stream(ctx, e.shardConfig(number)); err != nil {
		return err
	}
	for _, name := range []string{Storer, Cachewarmer} {
		if err := e.consumer(ctx, name, number); err != nil {
			return err
		}
	}
	return nil
}

// shardConfig: nothing in it discards mail by itself. A full stream refuses new mail, only a purge removes old
// mail, and retention (janitor.go) purges what is stored.
func (e ensurer) shardConfig(number int) jetstream.StreamConfig {
	return e.config(StreamName(number), []string{HeadSubject(number), PartSubject(number)}, int64(e.shape.MaxBytes),
		fmt.Sprintf("Sluice: accepted mail, shard %d. Purged by the storers when stored; never purge by hand what is not.", number))
}

func (e ensurer) deadConfig() jetstream.StreamConfig {
	return e.config(DeadStream, []string{DeadSubject, DeadPartSubject}, max(int64(e.shape.MaxBytes)/deadShare, 1<<20),
		"Sluice: mail that could not be stored, each with its reason. `sluicectl dead` retries or drops it.")
}

func (e ensurer) config(name string, subjects []string, maxBytes int64, description string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:               name,
		Description:        description,
		Subjects:           subjects,
		Retention:          jetstream.LimitsPolicy,
		Discard:            jetstream.DiscardNew,
		MaxBytes:           maxBytes,
		MaxMsgs:            -1,
		Replicas:           e.shape.Replicas,
		Storage:            jetstream.FileStorage,
		AllowAtomicPublish: true,
		AllowDirect:        true,
		// Dead letters are dropped one by one; mail in a shard never is.
		DenyDelete: name != DeadStream,
		Metadata:   map[string]string{DurabilityKey: string(e.durability.replicated(e.shape.Replicas))},
	}
}
