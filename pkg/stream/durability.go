package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Durability says whether a shard has mail on disk when it acknowledges it. The process that creates the streams reads it from
// the servers' monitoring endpoints and notes it in the streams' metadata. The ingress reads it there, because it
// need not have access to the monitoring endpoints. While it cannot be read, the last value noted stays in force.
type Durability string

const (
	// SyncedSingle: one server, which syncs to disk before it acknowledges.
	SyncedSingle Durability = "r1-synced"
	// SyncedQuorum: a majority of servers has synced before the acknowledgement.
	SyncedQuorum Durability = "r3-synced"
	// UnsyncedSingle: one server, which acknowledges data that is only in its page cache, and lost on power failure.
	UnsyncedSingle Durability = "r1-unsynced"
	// UnsyncedQuorum: the same on a majority of servers: lost when they fail together.
	UnsyncedQuorum Durability = "r3-unsynced"
	// UnknownDurability: nobody could read the servers' setting.
	UnknownDurability Durability = "unknown"
	// Orphaned: a server was standalone and is now in a cluster, which deletes its streams; Ensure refuses it.
	Orphaned Durability = "orphaned"
)

// Synced says whether an acknowledgement outlives a power failure.
func (d Durability) Synced() bool { return d == SyncedSingle || d == SyncedQuorum }

// known says whether it is something that was read of the servers.
func (d Durability) known() bool { return d.replicated(1) != UnknownDurability }

// replicated is the same setting of the servers for a stream on that many of them.
func (d Durability) replicated(replicas int) Durability {
	switch {
	case d == UnknownDurability || d == Orphaned || d == "":
		return UnknownDurability
	case d.Synced() && replicas > 1:
		return SyncedQuorum
	case d.Synced():
		return SyncedSingle
	case replicas > 1:
		return UnsyncedQuorum
	}
	return UnsyncedSingle
}

// monitored is what is read of a server: its name from /varz, the rest from /jsz. The JetStream configuration in /varz cannot be
// used: it is that of the first request, and a server that was asked before its JetStream had started reports none until it is
// restarted (nats-server 2.15.2).
type monitored struct {
	ServerName string `json:"server_name"`
	JetStream  struct {
		Disabled bool `json:"disabled"`
		Config   struct {
			SyncAlways bool `json:"sync_always"`
		} `json:"config"`
		Meta *struct {
			Size int `json:"cluster_size"`
		} `json:"meta_cluster"`
	} `json:"-"`
}

// ReadDurability reads from the servers' monitoring endpoints (NATS_MONITOR_URL, comma-separated) whether they sync. The result is
// that of the weakest server. The durability of a cluster is unknown unless every member was asked.
func ReadDurability(ctx context.Context, monitorURL string, nc *nats.Conn) (Durability, error) {
	if monitorURL == "" {
		return UnknownDurability, errors.New("how the log syncs is unknown: NATS_MONITOR_URL is not set; give it the monitoring address of every NATS server, such as http://nats:8222")
	}
	seen, clusterSize, synced := map[string]bool{}, 1, true
	var unread error
	for _, base := range strings.Split(monitorURL, ",") {
		v, err := readServer(ctx, strings.TrimSpace(base), nc)
		if errors.Is(err, ErrOrphaned) {
			return Orphaned, err
		}
		if err != nil {
			unread = err // one of the others may be known not to sync, which is enough
			continue
		}
		seen[v.ServerName] = true
		synced = synced && v.JetStream.Config.SyncAlways
		if v.JetStream.Meta != nil {
			clusterSize = max(clusterSize, v.JetStream.Meta.Size)
		}
	}
	if !synced {
		return UnsyncedSingle.replicated(clusterSize), nil
	}
	if unread != nil {
		return UnknownDurability, unread
	}
	if len(seen) < clusterSize {
		return UnknownDurability, fmt.Errorf("how the log syncs is unknown: NATS_MONITOR_URL names %d of the %d servers of the cluster", len(seen), clusterSize)
	}
	if nc != nil && nc.ConnectedServerName() != "" && !seen[nc.ConnectedServerName()] {
		return UnknownDurability, fmt.Errorf("how the log syncs is unknown: NATS_URL leads to the server %s, which is not in NATS_MONITOR_URL", nc.ConnectedServerName())
	}
	return SyncedSingle.replicated(clusterSize), nil
}

// readServer reads what one server says about itself, and looks for streams that it is about to lose.
func readServer(ctx context.Context, base string, nc *nats.Conn) (*monitored, error) {
	v := new(monitored)
	if err := readMonitor(ctx, base, "varz", v); err != nil {
		return nil, err
	}
	if err := readMonitor(ctx, base, "jsz", &v.JetStream); err != nil {
		return nil, err
	}
	if v.JetStream.Disabled {
		return nil, fmt.Errorf("the NATS server %s at %s does not run JetStream", v.ServerName, base)
	}
	return v, checkOrphans(ctx, base, v, nc)
}

// readMonitor reads one page of a server's monitoring endpoint.
func readMonitor(ctx context.Context, base, page string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	where := strings.TrimSuffix(base, "/") + "/" + page
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return fmt.Errorf("NATS_MONITOR_URL: %q is not a URL such as http://nats:8222: %w", base, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("reading how the log syncs (NATS_MONITOR_URL): %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("reading how the log syncs (NATS_MONITOR_URL): %s answers %s", where, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("reading how the log syncs (NATS_MONITOR_URL): %s: %w", where, err)
	}
	return nil
}
