package consume

import (
	"context"
	"errors"
	"strconv"
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
	waiting  bool
}

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

// round asks for the consumer of shard 0, 1, … until there is no such stream.
func (d *discovery) round(ctx context.Context, start func(int, func(context.Context))) {
	for shard := range stream.MaxShards {
		consumer, err := d.js.Consumer(ctx, stream.StreamName(shard), d.consumer)
		if errors.Is(err, jetstream.ErrConsumerNotFound) && d.cfg.CreateConsumer {
			consumer, err = d.js.CreateConsumer(ctx, stream.StreamName(shard), stream.ConsumerConfig(d.consumer, shard))
		}
		if err != nil {
			d.missing(ctx, shard, err)
			if errors.Is(err, jetstream.ErrConsumerNotFound) {
				continue
			}
			return
		}
		if !d.known[shard] {
			d.known[shard], d.waiting = true, false
			d.logger.Info("consuming", "stream", stream.StreamName(shard))
			start(shard, (&fetcher{engine: d.engine, shard: shard, consumer: d.consumer}).run)
		}
		d.lag(ctx, shard, consumer.CachedInfo())
	}
}

func (d *discovery) missing(ctx context.Context, shard int, err error) {
	lost := errors.Is(err, jetstream.ErrConsumerNotFound) || shard == 0
	if !lost || d.waiting || ctx.Err() != nil {
		return
	}
	d.waiting = true
	d.logger.Warn("waiting for the log's streams and consumers (storer migrate creates them); trying until they are there",
		"stream", stream.StreamName(shard), "reason", err)
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
