package retain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/bucket"
	"github.com/sluice-mail/sluice/pkg/stream/internal/wait"
)

// lease keeps a job to one of several processes: an entry of LeaseBucket that its holder renews and that
// expires with the holder. Two may believe to hold it for a moment (a paused process), so the job must be
// harmless when done twice.
type lease struct {
	js     jetstream.JetStream
	key    string
	holder string
	every  time.Duration
	valid  time.Duration
	logger *slog.Logger

	mu       sync.Mutex
	until    time.Time
	revision uint64
}

// leaseWait bounds one word with the log about the lease.
const leaseWait = 5 * time.Second

func newLease(js jetstream.JetStream, key string, logger *slog.Logger) *lease {
	return &lease{js: js, key: key, holder: nuid.Next(), every: stream.LeaseTTL / 4, valid: stream.LeaseTTL * 2 / 3, logger: logger}
}

// held says whether this process may do the job now.
func (l *lease) held(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Before(l.until)
}

// keep takes the lease when it is free and renews it until ctx ends, then gives it back.
func (l *lease) keep(ctx context.Context, took func()) {
	for {
		had := l.held(time.Now())
		err := l.renew(ctx)
		switch {
		case err == nil && !had && l.held(time.Now()):
			took()
		case err != nil && ctx.Err() == nil:
			l.logger.Debug("the lease could not be renewed", "key", l.key, "error", err)
		}
		if !wait.For(ctx, l.every) {
			l.release(ctx)
			return
		}
	}
}

// renew returns nil when the lease is ours or somebody else's; held tells which.
func (l *lease) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaseWait)
	defer cancel()
	asked := time.Now()
	kv, err := l.js.KeyValue(ctx, stream.LeaseBucket)
	if err != nil {
		return fmt.Errorf("opening the bucket %s: %w", stream.LeaseBucket, err)
	}
	l.mu.Lock()
	revision := l.revision
	l.mu.Unlock()
	if revision > 0 {
		if revision, err = kv.Update(ctx, l.key, []byte(l.holder), revision); err == nil {
			l.set(revision, asked.Add(l.valid))
			return nil
		}
	}
	revision, err = kv.Create(ctx, l.key, []byte(l.holder))
	if errors.Is(err, jetstream.ErrKeyExists) {
		return l.adopt(ctx, kv)
	}
	if err != nil {
		return fmt.Errorf("taking the lease %s: %w", l.key, err)
	}
	l.set(revision, asked.Add(l.valid))
	return nil
}

// adopt looks whose the entry is: after an answer that was lost it may be ours.
func (l *lease) adopt(ctx context.Context, kv jetstream.KeyValue) error {
	entry, err := kv.Get(ctx, l.key)
	if err != nil {
		return fmt.Errorf("reading the lease %s: %w", l.key, err)
	}
	if string(entry.Value()) != l.holder {
		l.set(0, time.Time{})
		return nil
	}
	// The renewal that follows says until when it is ours.
	l.mu.Lock()
	defer l.mu.Unlock()
	l.revision = entry.Revision()
	return nil
}

func (l *lease) set(revision uint64, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.revision, l.until = revision, until
}

// release lets the next process start at once; unheard, the entry expires. A renewal that was cut off may have
// moved the revision, so the entry is read first, and again when it has moved meanwhile.
func (l *lease) release(ctx context.Context) {
	l.set(0, time.Time{})
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	for {
		err := l.remove(ctx)
		if err == nil {
			return
		}
		if !bucket.IsConflict(err) {
			l.logger.Debug("the lease could not be released and will expire", "key", l.key, "error", err)
			return
		}
	}
}

func (l *lease) remove(ctx context.Context) error {
	kv, err := l.js.KeyValue(ctx, stream.LeaseBucket)
	if err != nil {
		return fmt.Errorf("opening the bucket %s: %w", stream.LeaseBucket, err)
	}
	entry, err := kv.Get(ctx, l.key)
	if errors.Is(err, jetstream.ErrKeyNotFound) || (err == nil && string(entry.Value()) != l.holder) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the lease %s: %w", l.key, err)
	}
	if err := kv.Delete(ctx, l.key, jetstream.LastRevision(entry.Revision())); err != nil {
		return fmt.Errorf("giving back the lease %s: %w", l.key, err)
	}
	return nil
}
