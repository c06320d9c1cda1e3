package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrOrphaned: the store of a NATS server that was standalone must not be started in a cluster. The cluster does not
// know its streams and deletes them half a minute after the start. Nobody can tell afterwards, so this can only be
// seen in that half minute.
var ErrOrphaned = errors.New("a NATS server that was standalone now runs in a cluster, which will delete its streams and the mail in them within 30 seconds: stop that server NOW, remove its cluster block, and move its streams with `nats stream backup` and `nats stream restore`")

// jsz is what we read of a server's /jsz: the streams that are on its disk.
type jsz struct {
	Accounts []struct {
		Streams []struct {
			Name      string `json:"name"`
			RaftGroup string `json:"stream_raft_group"`
			State     struct {
				Messages uint64 `json:"messages"`
			} `json:"state"`
		} `json:"stream_detail"`
	} `json:"account_details"`
}

// checkOrphans looks for streams of ours that a clustered server has on its disk and the cluster does not know.
func checkOrphans(ctx context.Context, base string, v *monitored, nc *nats.Conn) error {
	if v.JetStream.Meta == nil || nc == nil {
		return nil
	}
	var onDisk jsz
	if err := readMonitor(ctx, base, "jsz?accounts=true&streams=true&raft=true", &onDisk); err != nil {
		return err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("looking for orphaned streams: %w", err)
	}
	for _, account := range onDisk.Accounts {
		for _, s := range account.Streams {
			if _, ours := Shard(s.Name); !ours && s.Name != DeadStream || s.RaftGroup != "" {
				continue
			}
			if _, err := js.Stream(ctx, s.Name); errors.Is(err, jetstream.ErrStreamNotFound) {
				return fmt.Errorf("%w (server %s, stream %s with %d messages)", ErrOrphaned, v.ServerName, s.Name, s.State.Messages)
			}
		}
	}
	return nil
}
