package consume

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/wait"
)

// discovery finds the shards that a worker consumes, also those added while it runs, and reads their lag.
type discovery struct {
	*engine
	consumer string
	known    map[int]bool
	waiting  string // what was said last to be waited for
}

// findWait is how long a shard may take to say whether it has the consumer.
const findWait = 5 * time.Second

func (d *discovery) run(ctx context.Context, start func(shard int, fetch func(context.Context))) {
	for n := 0; ctx.Err() == nil; n++ {
		d.round(ctx, start)
		pause := d.pace.Rediscover
		if len(d.known) == 0 {
			pause = min(pause, d.pace.Backoff(n))
		}
		wait.For(ctx, pause)
	}
}

// round looks for the consumer of every shard that the log has, at the same time, so that a shard that does not answer
// does not delay the others.
func (d *discovery) round(ctx context.Context, start func(int, func(context.Context))) {
	shards, err := stream.Shards(ctx, d.js)
	if err == nil && len(shards) == 0 {
		err = jetstream.ErrStreamNotFound
	}
	if err != nil {
		d.missing(ctx, stream.StreamName(0), err)
		return
	}
	infos, errs := make([]*jetstream.ConsumerInfo, len(shards)), make([]error, len(shards))
	var asking sync.WaitGroup
	for i, shard := range shards {
		asking.Go(func() { infos[i], errs[i] = d.find(ctx, shard) })
	}
	asking.Wait()
	for i, shard := range shards {
		if errs[i] != nil {
			d.missing(ctx, stream.StreamName(shard), errs[i])
			continue
		}
		if !d.known[shard] {
			d.known[shard] = true
			d.logger.Info("consuming", "stream", stream.StreamName(shard))
			start(shard, (&fetcher{engine: d.engine, shard: shard, consumer: d.consumer}).run)
		}
		d.waiting = ""
		d.lag(ctx, shard, infos[i])
	}
}

// find asks a shard for the consumer, and makes it where that is ours to do.
func (d *discovery) find(ctx context.Context, shard int) (*jetstream.ConsumerInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, findWait)
	defer cancel()
	consumer, err := d.js.Consumer(ctx, stream.StreamName(shard), d.consumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) && d.cfg.CreateConsumer {
		consumer, err = d.js.CreateConsumer(ctx, stream.StreamName(shard), stream.ConsumerConfig(d.consumer, shard))
	}
	if err != nil {
		return nil, err
	}
	return consumer.CachedInfo(), nil
}

// missing logs once what the worker waits for. For a shard that is consumed already, its fetcher logs when it does not answer.
func (d *discovery) missing(ctx context.Context, name string, err error) {
	shard, _ := stream.Shard(name)
	if said := name + err.Error(); !d.known[shard] && d.waiting != said && ctx.Err() == nil {
		d.waiting = said
		d.logger.Warn("waiting for the log's streams and consumers (storer migrate creates them); retrying until they exist",
			"stream", name, "reason", err)
	}
}

// lag reads how far this consumer is behind.
func (d *discovery) lag(ctx context.Context, shard int, info *jetstream.ConsumerInfo) {
	label := strconv.Itoa(shard)
	behind := info.NumPending + uint64(info.NumAckPending)
	d.metrics.lag.WithLabelValues(label).Set(float64(behind))
	age := 0.0
	if behind > 0 {
		oldest, err := d.log.Next(ctx, stream.StreamName(shard), stream.HeadSubject(shard), info.AckFloor.Stream+1)
		if err != nil {
			return
		}
		age = time.Since(oldest.Time).Seconds()
	}
	d.metrics.unacked.WithLabelValues(label).Set(age)
}
