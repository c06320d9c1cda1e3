package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// stream creates a stream, or brings an existing one closer to want where that takes nothing away.
func (e ensurer) stream(ctx context.Context, want jetstream.StreamConfig) error {
	st, err := e.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if _, err := e.js.CreateStream(ctx, want); err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return fmt.Errorf("creating the stream %s of %d bytes on %d servers (STREAM_MAX_BYTES, STREAM_REPLICAS; see max_file_store of the NATS servers): %w",
				want.Name, want.MaxBytes, want.Replicas, err)
		}
		e.logger.Info("created", "stream", want.Name, "max_bytes", want.MaxBytes, "replicas", want.Replicas, "durability", want.Metadata[DurabilityKey])
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for the stream %s: %w", want.Name, err)
	}
	have := st.CachedInfo().Config
	next, err := e.merge(have, want)
	if err != nil {
		return err
	}
	if same(have, next) {
		return nil
	}
	if _, err := e.js.UpdateStream(ctx, next); err != nil {
		return fmt.Errorf("updating the stream %s: %w", want.Name, err)
	}
	e.logger.Info("updated", "stream", want.Name, "max_bytes", next.MaxBytes, "replicas", next.Replicas, "durability", next.Metadata[DurabilityKey])
	return nil
}

// merge grows have towards want. What would lose mail is an error: it was made by somebody else, or changed.
func (e ensurer) merge(have, want jetstream.StreamConfig) (jetstream.StreamConfig, error) {
	next := have
	if have.Retention != jetstream.LimitsPolicy || have.Storage != jetstream.FileStorage {
		return next, fmt.Errorf("the stream %s keeps messages by %v in %v storage, not by limits on disk; it does not belong to Sluice: rename it or use another account",
			have.Name, have.Retention, have.Storage)
	}
	if have.PersistMode == jetstream.AsyncPersistMode {
		return next, fmt.Errorf("the stream %s has persist_mode async: it acknowledges before it writes; recreate it", have.Name)
	}
	for _, subject := range want.Subjects {
		if !slices.Contains(next.Subjects, subject) {
			next.Subjects = append(slices.Clone(next.Subjects), subject)
		}
	}
	if have.MaxBytes > 0 && want.MaxBytes > have.MaxBytes {
		next.MaxBytes = want.MaxBytes
	} else if have.MaxBytes > want.MaxBytes {
		e.logger.Warn("the stream is larger than STREAM_MAX_BYTES; it is never shrunk", "stream", have.Name, "max_bytes", have.MaxBytes)
	}
	if have.MaxBytes <= 0 {
		next.MaxBytes = max(want.MaxBytes, 0)
	}
	next.Replicas = max(have.Replicas, want.Replicas)
	next.Discard, next.MaxAge, next.MaxMsgs, next.MaxMsgsPerSubject = want.Discard, 0, -1, -1
	next.AllowAtomicPublish, next.AllowDirect = true, true
	next.Metadata = noted(have, e.durability, next.Replicas)
	return next, nil
}

func same(a, b jetstream.StreamConfig) bool {
	return a.MaxBytes == b.MaxBytes && a.Replicas == b.Replicas && a.Discard == b.Discard && a.MaxAge == b.MaxAge &&
		a.MaxMsgs == b.MaxMsgs && a.MaxMsgsPerSubject == b.MaxMsgsPerSubject &&
		a.AllowAtomicPublish == b.AllowAtomicPublish && a.AllowDirect == b.AllowDirect &&
		slices.Equal(a.Subjects, b.Subjects) && a.Metadata[DurabilityKey] == b.Metadata[DurabilityKey]
}

// consumer creates a consumer. Of an existing one it changes only settings that its workers rely on, and never its position, which
// says what has been stored.
func (e ensurer) consumer(ctx context.Context, name string, number int) error {
	want := ConsumerConfig(name, number)
	c, err := e.js.Consumer(ctx, StreamName(number), name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		_, err = e.js.CreateConsumer(ctx, StreamName(number), want)
		if errors.Is(err, jetstream.ErrConsumerExists) {
			err = nil // a storer that starts at the same time made it
		}
	}
	if err != nil {
		return fmt.Errorf("ensuring the consumer %s of %s: %w", name, StreamName(number), err)
	}
	if c == nil {
		return nil
	}
	have := c.CachedInfo().Config
	if have.DeliverPolicy != want.DeliverPolicy || have.AckPolicy != want.AckPolicy {
		return fmt.Errorf("the consumer %s of %s does not deliver all messages with explicit acknowledgement; it was not made by Sluice: remove it, then run this again (mail is stored once all the same)", name, StreamName(number))
	}
	if have.FilterSubject == want.FilterSubject && have.MaxDeliver == want.MaxDeliver && have.AckWait == want.AckWait && have.MaxAckPending >= want.MaxAckPending {
		return nil
	}
	next := have
	next.FilterSubject, next.MaxDeliver, next.AckWait = want.FilterSubject, want.MaxDeliver, want.AckWait
	next.MaxAckPending = max(have.MaxAckPending, want.MaxAckPending)
	if _, err := e.js.UpdateConsumer(ctx, StreamName(number), next); err != nil {
		return fmt.Errorf("updating the consumer %s of %s: %w", name, StreamName(number), err)
	}
	e.logger.Info("updated", "stream", StreamName(number), "consumer", name)
	return nil
}

func (e ensurer) buckets(ctx context.Context) error {
	for _, want := range []jetstream.KeyValueConfig{
		{Bucket: PolicyBucket, Description: "Sluice: accepted domains and recipients"},
		{Bucket: LeaseBucket, Description: "Sluice: jobs that one process does at a time", TTL: LeaseTTL},
		{Bucket: ReplayBucket, Description: "Sluice: progress of replays"},
		{Bucket: MarksBucket, Description: "Sluice: messages that have been delivered several times", TTL: MarksTTL},
		{Bucket: AuditBucket, Description: "Sluice: tallies of what was purged from the log"},
		{Bucket: TombstoneBucket, Description: "Sluice: decisions about mail that is neither in the database nor a dead letter"},
	} {
		want.Replicas, want.MaxBytes, want.Storage = e.shape.Replicas, bucketBytes, jetstream.FileStorage
		_, err := e.js.KeyValue(ctx, want.Bucket)
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			if _, err = e.js.CreateKeyValue(ctx, want); errors.Is(err, jetstream.ErrBucketExists) {
				err = nil
			}
		}
		if err != nil {
			return fmt.Errorf("ensuring the bucket %s: %w", want.Bucket, err)
		}
	}
	return nil
}
