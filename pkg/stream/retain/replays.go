package retain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/replays"
)

// sweepEvery is how often the janitor looks for abandoned replays.
const sweepEvery = time.Minute

// ForgetReplays removes the registrations of replays that were interrupted and not continued in time.
func ForgetReplays(ctx context.Context, nc *nats.Conn) ([]string, error) {
	return replays.Sweep(ctx, stream.JetStream(nc))
}

// ReplayRange says since when a replay of that name has been running and which range it reads, such as MAIL_0:101-200. The range is
// "" if there is no such replay, so that a new one would be started.
func ReplayRange(ctx context.Context, nc *nats.Conn, name string) (since time.Time, ranges string, err error) {
	kv, err := stream.JetStream(nc).KeyValue(ctx, stream.ReplayBucket)
	if err != nil {
		return since, "", fmt.Errorf("opening the bucket %s (storer migrate creates it): %w", stream.ReplayBucket, err)
	}
	reg, _, err := replays.Read(ctx, kv, name)
	if errors.Is(err, jetstream.ErrKeyNotFound) || err == nil && reg.Failed != "" {
		return since, "", nil
	}
	if err != nil {
		return since, "", err
	}
	texts := []string{}
	for _, r := range reg.Ranges {
		texts = append(texts, fmt.Sprintf("%s:%d-%d", stream.StreamName(r.Shard), r.From, r.To))
	}
	if len(texts) == 0 {
		texts = append(texts, "nothing")
	}
	return reg.Created, strings.Join(texts, ", "), nil
}

// sweep removes abandoned replays from time to time, in the janitor that has the lease.
func (j *Janitor) sweep(ctx context.Context) error {
	if !j.Leads() || time.Since(j.swept) < sweepEvery {
		return nil
	}
	removed, err := replays.Sweep(ctx, j.js)
	if err != nil {
		return err
	}
	j.swept = time.Now()
	if len(removed) > 0 {
		j.logger.Info("interrupted replays that were not continued in time are removed", "names", removed)
	}
	return nil
}
