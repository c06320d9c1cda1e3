package policy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/policy/lists"
)

const (
	// settle is how long changes are collected before a new set is made: a script that adds ten thousand recipients
	// must not copy the set ten thousand times. It is well below the second within which a change must take effect.
	settle = 100 * time.Millisecond
	// verifyEvery is how often the bucket is asked for its last revision, to find out whether the watch has missed a change. A
	// watch recovers from a lost connection, but not from a bucket that was deleted and created again.
	verifyEvery = 10 * time.Second
	// retryEvery is the wait between attempts to open the bucket.
	retryEvery = time.Second
)

// liveSet is what the bucket holds; immutable once it is stored in Policy.live.
type liveSet struct {
	domains    domains
	recipients *recipientSet
	lists      *lists.Set
	// noRecipients says that there are none on purpose. A bucket that is empty without this note has most likely been lost, and
	// using it would refuse everybody's mail.
	noRecipients bool
}

func (s *liveSet) knows(mailbox string) bool {
	_, ok := s.recipients.Get(mailbox)
	return ok
}

// Loaded says whether the bucket has been read at least once.
func (p *Policy) Loaded() bool { return p.live.Load() != nil }

// Follow keeps the policy equal to the bucket until ctx ends. open finds the bucket; while it cannot, or the watch
// breaks, Follow tries again every second, and the last known set stays in force.
func (p *Policy) Follow(ctx context.Context, open func(ctx context.Context) (jetstream.KeyValue, error), logger *slog.Logger) error {
	complaint := ""
	for {
		began := time.Now()
		kv, err := open(ctx)
		if err == nil {
			err = p.Watch(ctx, kv)
		}
		if ctx.Err() != nil {
			return nil
		}
		// Each reason is logged once, and again if the watch had worked for a while in between.
		if time.Since(began) > p.verifyEvery || err.Error() != complaint {
			complaint = err.Error()
			logger.Warn("the policy bucket cannot be read; what is known of it stays in force, trying again", "loaded", p.Loaded(), "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(p.retryEvery):
		}
	}
}

// errStale makes Follow begin again.
var errStale = errors.New("the bucket has changes that the watch did not see")

// Watch reads the bucket and then follows its changes, until ctx ends or the watch breaks.
func (p *Policy) Watch(ctx context.Context, kv jetstream.KeyValue) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	last, err := lastRevision(ctx, kv)
	if err != nil {
		return err
	}
	watcher, err := kv.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("watching the policy bucket: %w", err)
	}
	defer stop(watcher)
	f := follower{policy: p, kv: kv, state: newBucketState(), seen: last}
	return f.run(ctx, watcher.Updates())
}

// stop ends a watch. The client's callback may be waiting for room in the channel, so it is emptied meanwhile.
func stop(watcher jetstream.KeyWatcher) {
	go func() {
		for range watcher.Updates() { //nolint:revive // emptying it is the purpose
		}
	}()
	_ = watcher.Stop()
}

func lastRevision(ctx context.Context, kv jetstream.KeyValue) (uint64, error) {
	status, err := kv.Status(ctx)
	if err != nil {
		return 0, fmt.Errorf("asking for the state of the policy bucket: %w", err)
	}
	s, ok := status.(*jetstream.KeyValueBucketStatus)
	if !ok {
		return 0, fmt.Errorf("asking for the state of the policy bucket: the client answers with a %T", status)
	}
	return s.StreamInfo().State.LastSeq, nil
}

// follower applies the changes of one watch.
type follower struct {
	policy *Policy
	kv     jetstream.KeyValue
	state  bucketState
	seen   uint64 // last revision that is in state, or was there before the watch began
	taken  uint64 // entries that the watch has brought
	behind uint64 // one more than taken was when the bucket was found to be ahead; 0: it was not
	loaded bool
}

func (f *follower) run(ctx context.Context, updates <-chan jetstream.KeyValueEntry) error {
	var settled <-chan time.Time
	verify := time.NewTicker(f.policy.verifyEvery)
	defer verify.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case entry, open := <-updates:
			switch {
			case !open:
				return errors.New("the watch of the policy bucket ended")
			case entry == nil: // the marker behind the last of the first values
				f.loaded = true
				f.publish()
			default:
				f.apply(entry)
				if f.loaded && settled == nil {
					settled = time.After(settle)
				}
			}
		case <-settled:
			settled = nil
			f.publish()
		case <-verify.C:
			if f.loaded && f.state.lists.Expire(time.Now()) {
				f.publish()
			}
			if err := f.verify(ctx); err != nil {
				return err
			}
		}
	}
}

func (f *follower) apply(entry jetstream.KeyValueEntry) {
	f.seen = max(f.seen, entry.Revision())
	f.taken++
	f.state.set(entry.Key(), entry.Value(), entry.Operation() == jetstream.KeyValuePut)
}

// publish makes the entries read so far take effect. If domains or recipients are empty now and were not before, and the bucket
// has no note that this was done on purpose, the previous ones stay.
func (f *follower) publish() {
	set := f.state.freeze()
	if old := f.policy.live.Load(); old != nil {
		if set.recipients.Len() == 0 && !set.noRecipients && old.recipients.Len() > 0 {
			set.recipients = old.recipients
			f.policy.doubts.Add(1)
		}
		if set.domains.len() == 0 && !f.state.emptied[domainKeys] && old.domains.len() > 0 {
			set.domains = old.domains
			f.policy.doubts.Add(1)
		}
	}
	f.policy.live.Store(set)
}

// verify finds out whether the watch has missed changes. If the bucket is ahead, the watch may only be slower; it has missed
// changes if it has brought nothing since the last check. What was there before the watch began counts too: a large bucket may
// take longer to read than two checks.
func (f *follower) verify(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, f.policy.verifyEvery)
	defer cancel()
	last, err := lastRevision(ctx, f.kv)
	switch {
	case err != nil: // the log does not answer; the watch resumes when it does
		f.behind = 0
	case last < f.seen:
		return errStale
	case last > f.seen && f.behind == f.taken+1:
		return errStale
	case last > f.seen:
		f.behind = f.taken + 1
	default:
		f.behind = 0
	}
	return nil
}
