package stream

import (
	"context"
	"fmt"
	"log/slog"
	"maps"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// NoteDurability writes what an acknowledgement is worth into the metadata of the streams there are, when it has changed
// since it was last read: a server may be restarted with another setting. What could not be read changes nothing.
func NoteDurability(ctx context.Context, nc *nats.Conn, durability Durability, logger *slog.Logger) error {
	if !durability.known() {
		return nil
	}
	js := JetStream(nc)
	infos, err := ShardInfos(ctx, js)
	for _, info := range infos {
		have, want := info.Config.Metadata[DurabilityKey], noted(info.Config, durability, info.Config.Replicas)
		if have == want[DurabilityKey] {
			continue
		}
		next := info.Config
		next.Metadata = want
		if _, err := js.UpdateStream(ctx, next); err != nil {
			return fmt.Errorf("noting the durability in the stream %s: %w", next.Name, err)
		}
		level := slog.LevelInfo
		if !durability.Synced() {
			level = slog.LevelError
		}
		logger.Log(ctx, level, "the durability of the log has changed", "stream", next.Name, "was", have, "is", want[DurabilityKey])
	}
	return err
}

// noted is a stream's metadata with its durability on that many servers: what was read now, or else what was read before.
func noted(have jetstream.StreamConfig, read Durability, replicas int) map[string]string {
	if !read.known() {
		read = Durability(have.Metadata[DurabilityKey])
	}
	metadata := maps.Clone(have.Metadata)
	if metadata == nil {
		metadata = map[string]string{}
	}
	metadata[DurabilityKey] = string(read.replicated(replicas))
	return metadata
}
