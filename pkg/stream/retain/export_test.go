package retain

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// FillRate is what the tests need to know of the inside.
const FillRate = fillRate

// SetPace sets the pauses between two looks at a quiet log and at one that fills.
func (j *Janitor) SetPace(slow, fast time.Duration) { j.slow, j.fast = slow, fast }

// SetStep bounds one purge.
func (j *Janitor) SetStep(bytes uint64) { j.step = bytes }

// Wrap puts something between the janitor and the log.
func (j *Janitor) Wrap(wrap func(jetstream.JetStream) jetstream.JetStream) { j.js = wrap(j.js) }

// Once lets a janitor that holds the lease look at everything once.
func (j *Janitor) Once(ctx context.Context) error {
	j.lease.set(1, time.Now().Add(time.Minute))
	_, err := j.round(ctx)
	return err
}

// Poke makes the next look happen now.
func (j *Janitor) Poke() { j.poke() }

// Until is when a shard of that state is looked at again.
func (j *Janitor) Until(info *jetstream.StreamInfo) time.Duration {
	return j.until(&shardState{info: info})
}

// TakeLease asks for the lease once.
func (j *Janitor) TakeLease(ctx context.Context) error { return j.lease.renew(ctx) }

// RenewEvery sets how often the lease is asked for.
func (j *Janitor) RenewEvery(wait time.Duration) { j.lease.every = wait }
